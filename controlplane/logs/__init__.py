"""Log lines and files of the plane's processes."""
