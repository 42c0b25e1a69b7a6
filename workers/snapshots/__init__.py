"""The process that has database, store and keys: it writes snapshots, reads them back and restores them for drills."""
