"""manage.py create_first_accounts [--json]: somebody to log in as on a new plane. Running it again changes nothing."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from apps.core.actors import ProjectRole, SystemRole
from apps.platform.accounts.management.base import OperatorCommand
from apps.platform.accounts.models import Project, User
from apps.platform.accounts.services import create_project, create_user, set_member_roles, set_system_role

PROJECT = "demo"
ADMINISTRATORS = {
    "sysadmin": SystemRole.SYSTEM_ADMIN,
    "secadmin": SystemRole.SECURITY_ADMIN,
    "auditor": SystemRole.AUDITOR,
}
MEMBERS = {"engineer": ProjectRole.ENGINEER, "approver": ProjectRole.APPROVER}


class Command(OperatorCommand):
    help = (
        "Make the three administrators, the project demo with an engineer and an approver, each with a one-time "
        "password that is printed now and kept nowhere. What exists is left as it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object: name to one-time password")

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():  # all or none: a password that was not printed would be lost
            passwords = self.make()
        if options["json"]:
            self.stdout.write(json.dumps(passwords))
        elif passwords:
            for username, password in passwords.items():
                self.stdout.write(f"{username:<10} {password}")
            self.stdout.write("Each password is for one log-in: write them down now, they are not shown again.")
        else:
            self.stdout.write("The first accounts exist already; nothing was made.")

    def make(self) -> dict[str, str]:
        """The one-time passwords of the accounts that were missing.

        The security administrator comes last: from then on somebody can confirm what the operator sets, so everything
        else would wait for that (docs/approvals.md).
        """
        passwords: dict[str, str] = {}
        project = Project.objects.filter(slug=PROJECT).first()
        if project is None:
            project = create_project(actor=self.actor, slug=PROJECT, name="Demo")
        for username, project_role in MEMBERS.items():
            if user := self.create_if_missing(username, passwords):
                set_member_roles(actor=self.actor, project=project, member=user, roles=[project_role])
        for username, role in sorted(ADMINISTRATORS.items(), key=lambda each: each[1] is SystemRole.SECURITY_ADMIN):
            if user := self.create_if_missing(username, passwords):
                set_system_role(actor=self.actor, user=user, system_role=role)
        return {username: passwords[username] for username in (*ADMINISTRATORS, *MEMBERS) if username in passwords}

    def create_if_missing(self, username: str, passwords: dict[str, str]) -> User | None:
        """The account, made now; None when there was one. An existing account gains no role by its name."""
        if User.objects.filter(username__iexact=username).exists():
            return None
        user, passwords[username] = create_user(actor=self.actor, username=username)
        return user
