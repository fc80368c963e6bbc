"""Who somebody is and what they may: users, roles, permissions of ranges, passwords and tokens.

What may live here: rules and records of authentication and authorization, over the tables of a transaction that
somebody else opens and commits. Synchronous, no I/O of its own; clocks are injected; hashing a password takes long
and is called from a worker thread.
"""
