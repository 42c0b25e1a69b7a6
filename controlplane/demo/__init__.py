"""The main job, told from the first account to an approved model: what `manage.py demo` is made of."""
