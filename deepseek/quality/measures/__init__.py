"""Streaming measures of the quality report, one per module; memory does not grow with the rows."""
