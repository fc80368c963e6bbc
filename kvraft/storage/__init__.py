"""Disk: the raft log and the state, each in an LMDB environment of its own.

What may live here: opening, layout, transactions, snapshots, the log's writer thread. Synchronous code without
sockets; it knows entries, tables and bytes, but not what a put or a watch means.
"""
