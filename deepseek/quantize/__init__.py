"""Make a model smaller and faster with 8-bit integers."""
