"""The nodes of one job as a Dask cluster of its own: how they find each other, pass files, and carry partitions."""
