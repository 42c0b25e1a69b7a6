"""Samples by which a device checks a model that it has installed: rows, and what they are to be answered."""
