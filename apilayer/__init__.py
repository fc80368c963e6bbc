"""A Kubernetes API server over kvraft. Of kvraft it imports only ``client``, ``types`` and ``errors``."""
