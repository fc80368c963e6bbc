"""The version, read from the installed distribution once."""

from importlib.metadata import version

VERSION = version("kvraft")
