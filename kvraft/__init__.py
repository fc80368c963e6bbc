"""A replicated key-value store: raft for agreement, LMDB for storage, etcd v3 semantics.

Never imports ``apilayer`` or ``jepsen``.
"""
