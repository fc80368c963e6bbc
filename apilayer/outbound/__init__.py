"""Requests to others: webhooks and identity providers.

One HTTPS client, bounded in everything, and what tells it where to connect: kubeconfig files. What a request means
is its caller's affair; nothing here knows users, policies or audits. The HTTP library behind it is imported with the
first request, so that a server that asks nobody pays nothing for it.
"""
