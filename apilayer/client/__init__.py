"""What controllers need of a cluster: objects, changes of them, a queue of work, and one leader among many servers.

Interfaces and pure machinery; `apilayer.server.controller_api` is the cluster that the server's own process holds.
"""
