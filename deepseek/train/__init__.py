"""Train a model on a table."""
