"""HTML forms derived from the JSON Schema of a spec."""
