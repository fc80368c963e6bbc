"""What was asked, by whom, and what became of it: audit events (``audit.k8s.io/v1``) from requests to their sinks.

`policy`, `event`, `bodies`, `source` and `shape` decide and are pure; `record` follows one request through the
pipeline; `log_file`, `webhook` and `delivery` do the I/O. A server without a policy imports `interface` alone.
"""
