"""OpenID Connect: tokens that others issue. What a token says is mapped here; who issued it is asked by `provider`."""
