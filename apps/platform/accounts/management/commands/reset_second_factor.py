"""manage.py reset_second_factor USER"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.platform.accounts.management.base import OperatorCommand, find_user
from apps.platform.accounts.services import reset_second_factor


class Command(OperatorCommand):
    help = (
        "Take away the second factors of a person who has lost them: of the only security administrator, for instance."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user")
        parser.add_argument("--reason", default="", help="recorded in the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        user = reset_second_factor(actor=self.actor, user=find_user(options["user"]), reason=options["reason"])
        self.stdout.write(f"{user.username} has no second factor: the next log-in asks for a new one where it must.")
