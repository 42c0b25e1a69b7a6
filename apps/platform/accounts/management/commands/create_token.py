"""manage.py create_token USER --project SLUG --scopes a,b [--days N] [--name TEXT]"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.core.token_scopes import SCOPES
from apps.platform.accounts.management.base import OperatorCommand, find_owner, find_project, find_user
from apps.platform.accounts.models import User
from apps.platform.accounts.services import DEFAULT_DAYS, create_token, create_token_for_service_account


class Command(OperatorCommand):
    help = "Make an API token of a person or a service account; prints the token, alone, on standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="name of the person or service account")
        parser.add_argument("--project", required=True, help="slug of the project that the token is for")
        parser.add_argument("--scopes", required=True, help=f"comma-separated, of: {', '.join(SCOPES)}")
        parser.add_argument(
            "--days", type=int, default=DEFAULT_DAYS, help="lifetime, 1 to 366 days (default %(default)s)"
        )
        parser.add_argument(
            "--holder",
            help="of a service account: user name of the person to whom the token is given, who then cannot "
            "decide what it asks for; without one it asks for no promotion",
        )
        parser.add_argument("--name", default="command line", help="what the token is for")

    def handle(self, *args: Any, **options: Any) -> None:
        project = find_project(options["project"])
        owner = find_owner(options["user"], project)
        scopes = [part.strip() for part in options["scopes"].split(",") if part.strip()]
        about = {"name": options["name"], "scopes": scopes, "days": options["days"]}
        if isinstance(owner, User):
            _, secret = create_token(actor=self.actor, project=project, user=owner, **about)
        else:
            holder = find_user(options["holder"]) if options["holder"] else None
            _, secret = create_token_for_service_account(actor=self.actor, account=owner, holder=holder, **about)
        self.stdout.write(secret)
