"""Gather the forms of one model into a version."""
