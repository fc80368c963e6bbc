"""HTTP/2 as a server speaks it (RFC 9113), sans-IO: bytes in, calls to the owner; frames out through a callback."""
