"""The worker's half of federated studies: keys for their jobs, the way to the other side, and what they report."""
