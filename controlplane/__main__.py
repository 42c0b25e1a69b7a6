"""`python -m controlplane`, `deepseek-plane` and manage.py: the administrative commands of the plane."""

import os
import sys

from workers.inspection import forbid_inspection


def main() -> None:
    forbid_inspection()  # launcher, dispatcher, beat and worker alike: their environment may hold the plane's keys
    os.umask(0o077)  # `migrate` makes the database: it holds sessions, which no other user of the machine may read
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
