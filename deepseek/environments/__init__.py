"""The environment of a machine: Python and its packages, drivers, firmware; compared, and rebuilt from a mirror."""
