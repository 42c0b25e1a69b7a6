"""Register a model version from the page of a run."""
