"""Measurements side by side with the real peers, as ratios. ``make bench`` prints them and writes the table."""
