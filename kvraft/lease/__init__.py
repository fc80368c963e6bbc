"""Leases: what of them is replicated (``table``) and the leader's clock over them (``lessor``). Synchronous, no I/O.

The replicated part knows no time: what each lease was granted for, and what was left of it when a leader last wrote
that down. When a lease ends is the leader's to say, on a clock that it is given; it says so by a revoke in the log.
"""
