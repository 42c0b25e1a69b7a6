"""The conversation with the plane."""
