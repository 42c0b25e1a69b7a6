"""manage.py create_user USERNAME [--name TEXT] [--email ADDRESS] [--system-role ROLE]"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from apps.core.actors import SystemRole
from apps.platform.accounts.management.base import OperatorCommand
from apps.platform.accounts.services import create_user, set_system_role


class Command(OperatorCommand):
    help = "Make an account; prints the one-time password, alone, on standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="", help="as shown to others")
        parser.add_argument("--email", default="")
        parser.add_argument("--system-role", default="", help=f"one of: {', '.join(SystemRole)}")

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():  # no account without the role that was asked for
            user, password = create_user(
                actor=self.actor, username=options["username"], name=options["name"], email=options["email"]
            )
            if options["system_role"]:
                set_system_role(actor=self.actor, user=user, system_role=options["system_role"])
        self.stdout.write(password)
