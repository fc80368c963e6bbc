"""The command line: ``kvraft serve``, one file per command."""
