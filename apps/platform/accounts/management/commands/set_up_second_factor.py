"""manage.py set_up_second_factor USER"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.platform.accounts.management.base import OperatorCommand, find_user
from apps.platform.accounts.services import set_up_second_factor


class Command(OperatorCommand):
    help = (
        "Give a first account, which nobody has logged in to, an authenticator app; prints its secret (base32), alone, "
        "on standard output. Type it into an app, or let manage.py show_code compute the codes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user")

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(set_up_second_factor(actor=self.actor, user=find_user(options["user"])))
