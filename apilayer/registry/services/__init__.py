"""Cluster IPs and node ports of Services: who holds them is kept in the store, so that servers over one store agree."""
