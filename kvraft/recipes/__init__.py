"""Locks and elections out of keys, leases and watches: what the client offers, and a member for its clients, alike.

They need no more of a store than :class:`~kvraft.recipes.store.Store` has, and never poll. A key is the name, a slash
and the lease's id in hex; who comes first is who created its key first. So everybody sees the same order, whichever
client library it uses, and whoever loses its lease loses its place.
"""
