"""Measure a model on a table that it did not learn from."""
