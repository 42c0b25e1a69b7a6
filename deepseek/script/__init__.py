"""A job that runs its user's own code: a command on a folder of files, in a sandbox."""
