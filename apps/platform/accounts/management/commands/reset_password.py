"""manage.py reset_password USER"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.platform.accounts.management.base import OperatorCommand, find_user
from apps.platform.accounts.services import reset_password


class Command(OperatorCommand):
    help = "Give a person a new one-time password and end their sessions; prints it, alone, on standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user")

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(reset_password(actor=self.actor, user=find_user(options["user"])))
