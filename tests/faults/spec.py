"""The job that the kill matrix disturbs: long enough to be caught in the middle, with a child in its own session."""

SPEC = {"seconds": 6.0, "steps": 40, "log_lines": 40, "echo": "the same bytes, whatever happens", "children": 1}
