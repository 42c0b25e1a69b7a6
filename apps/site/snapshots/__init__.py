"""A backup of the whole plane as one folder that proves itself, and the way back from it."""
