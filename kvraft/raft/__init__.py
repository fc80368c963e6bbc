"""The raft algorithm, sans-IO: no trio, no lmdb, no clock, no global random.

``Raft.step``, ``Raft.tick`` and ``Raft.propose`` change memory only; ``Raft.ready`` returns what must happen.
The same state and the same input give the same output.
"""
