"""The ``jepsen`` command."""
