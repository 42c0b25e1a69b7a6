"""Compile a model for one processor."""
