"""HTTP on the client URL: HTTP/2 with gRPC, HTTP/1.1, the JSON gateway, and plain routes such as ``/health``."""
