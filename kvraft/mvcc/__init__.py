"""The etcd semantics of revisions over the state's tables: put, range, delete range, transactions, compaction.

What may live here: what a change means and how it is recorded. No entries, no watchers, no I/O of its own: it reads
and writes the tables of a transaction that somebody else opens and commits.
"""
