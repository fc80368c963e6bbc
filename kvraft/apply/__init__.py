"""Committed entries to state: the replicated state machine that the driver runs.

What may live here: decoding of entries, the machine, and later what wraps it (authorization, quota, alarms). The same
entries give the same answers and the same state on every member: no clock, no randomness, no limits of one machine.
"""
