"""Errors of the pure part that are not yet an answer: callers turn them into a `StatusError`."""


class DecodeError(ValueError):
    """A document cannot be decoded; the message is in the words of Kubernetes' decoders."""
