"""Compare two tables row by row, by a key."""
