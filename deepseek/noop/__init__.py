"""A job that does nothing, in every way a job can: to try a plane out."""
