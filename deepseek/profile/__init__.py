"""Measure a table, and check what is expected of it, without changing it."""
