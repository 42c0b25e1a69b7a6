"""The attacks and faults of the security review, run against a plane of their own: `python -m tests.attacks`."""
