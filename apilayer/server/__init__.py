"""HTTP: listeners and TLS, HTTP/1.1 on httptools, HTTP/2 on Hypercorn, and the handlers that both share.

Handlers and routes speak `apilayer.pipeline.request` only; the protocol classes know nothing of resources.
"""
