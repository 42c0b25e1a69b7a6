"""Jobs whose partitions run on a Dask cluster of the operator: their attempts, and the check of its settings."""
