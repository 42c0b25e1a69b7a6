"""What a quality report measures of a stream of record batches, one idea a module; memory does not grow with rows."""
