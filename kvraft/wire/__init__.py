"""Framing and messages of the protocols that we speak, sans-IO: bytes in, requests out, and back."""
