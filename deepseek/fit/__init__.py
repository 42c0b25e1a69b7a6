"""Whether a training fits: the memory that it will need, before it runs."""
