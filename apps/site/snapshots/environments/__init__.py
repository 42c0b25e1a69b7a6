"""Environments of nodes over time, and what differs between two of them or a run's record."""
