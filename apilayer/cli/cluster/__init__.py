"""The local cluster behind ``apilayer up``, ``status`` and ``down``: processes, ports, certificates, files.

Everything here except ``single`` runs in the supervising process, which must have its children started a few
milliseconds after the command was typed: modules import the standard library only at their top, and what is heavy
(``cryptography``, ``trio``, the store's client) inside the function that needs it.
"""
