"""The replacement text for cells that must not be shown. Light to import."""

REDACTED = "***"
"""What errors, notes and reports show instead of the cells of a masked column."""
