"""Deterministic simulation of whole clusters: one seed, one run. No trio, no clock, no thread, no global random.

The clusters are made of the same driver and raft core that the server runs; network, disks, clocks, processes and
clients are simulated here, and broken here.
"""
