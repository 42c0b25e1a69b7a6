"""The servers of the model."""
