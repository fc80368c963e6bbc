"""What the API needs of a store: the interface, its backends, the object codec and the watch cache.

Knows keys, bytes and revisions; knows nothing of HTTP, users or admission.
"""
