"""The async client: finds the leader, fails over, resumes watches; never repeats a write of unknown outcome."""

from kvraft.client.client import Client, open_client
from kvraft.client.failover import Patience
from kvraft.client.watch import WatchStream

__all__ = ["Client", "Patience", "WatchStream", "open_client"]
