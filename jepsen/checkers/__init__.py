"""Judges of recorded histories: pure functions from what clients saw to a verdict. No I/O, no clocks, no randomness."""
