"""Watches: which watcher sees which change, and how one that lags behind catches up.

What may live here: matching, fan-out, the states of a watcher. It is fed with applied changes and reads older ones
through :class:`~kvraft.watch.hub.ChangeSource`; how batches reach a client is the sink's business.
"""
