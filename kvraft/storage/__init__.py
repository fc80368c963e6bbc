"""Disk: the raft log in files that only grow, and the state in an LMDB environment.

What may live here: opening, layout, transactions, snapshots, the log's writer thread. Synchronous code without
sockets; it knows entries, tables and bytes, but not what a put or a watch means.
"""
