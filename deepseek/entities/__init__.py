"""Entities: a small transformer that finds names in texts, and what reads, measures and answers with it."""
