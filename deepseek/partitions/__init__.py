"""Tables in partitions: rounds over them, where their rows come from, and what carries the work."""
