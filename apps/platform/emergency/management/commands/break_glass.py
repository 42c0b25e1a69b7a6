"""manage.py break_glass --create-key 1|2, or --user NAME --reason TEXT [--role ROLE] [--hours N]"""

from __future__ import annotations

import getpass
import sys
from typing import Any

from django.core.management.base import CommandParser

from apps.core.errors import Invalid
from apps.platform.accounts.management.base import OperatorCommand, find_user
from apps.platform.emergency.models import PLANE_ROLES
from apps.platform.emergency.services import create_key, use_keys
from deepseek.messages import N_


class Command(OperatorCommand):
    help = (
        "Emergency access when nobody can log in: two printed keys lend a person an administrator's role for some hours"
        " and a one-time password, which is printed. The keys are asked for, or read from two lines of standard input;"
        " never from the command line, which others can see."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--create-key", type=int, choices=(1, 2), help="Print a new key for one of two envelopes.")
        parser.add_argument("--user", help="Who gets the role.")
        parser.add_argument("--role", choices=PLANE_ROLES, default=PLANE_ROLES[0])
        parser.add_argument("--reason", default="")
        parser.add_argument("--hours", type=int, default=1)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["create_key"]:
            self.stdout.write(create_key(actor=self.actor, slot=options["create_key"]))
            return
        if not options["user"]:
            raise Invalid("Name the person.", field="--user", hint=N_("Or create a key: --create-key 1."))
        person = find_user(options["user"])
        keys = read_key("1"), read_key("2")
        fields = {name: options[name] for name in ("role", "reason", "hours")}
        grant, password = use_keys(actor=self.actor, person=person, keys=keys, **fields)
        self.stderr.write(f"{person} is {grant.role} until {grant.expires_at:%Y-%m-%d %H:%M} UTC. Both keys are spent.")
        self.stdout.write(password)


def read_key(slot: str) -> str:
    """A key without its echo at a terminal, else the next line of standard input."""
    return getpass.getpass(f"Key {slot}: ") if sys.stdin.isatty() else sys.stdin.readline()
