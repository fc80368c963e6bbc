"""The command line: ``kvraft serve``, and the commands that talk to members, one file per noun; see ``commands``."""
