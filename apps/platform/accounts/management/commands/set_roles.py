"""manage.py set_roles USER (--project SLUG --roles a,b | --system-role ROLE)"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.core.actors import ProjectRole, SystemRole
from apps.platform.accounts.management.base import OperatorCommand, find_owner, find_project, find_user
from apps.platform.accounts.services import remove_member, set_member_roles, set_system_role


class Command(OperatorCommand):
    help = "Set the roles of a person or service account in a project, or a person's system role. Empty takes them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="name of the person or service account")
        parser.add_argument("--project", help="slug of the project")
        parser.add_argument("--roles", help=f"comma-separated, of: {', '.join(ProjectRole)}; empty removes the member")
        parser.add_argument("--system-role", help=f"one of: {', '.join(SystemRole)}; empty takes it away")
        parser.add_argument("--reason", default="", help="goes into the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        in_project = options["project"] is not None and options["roles"] is not None
        if in_project == (options["system_role"] is not None):
            raise CommandError("Give --project with --roles, or --system-role.", returncode=2)
        if not in_project:
            user = find_user(options["user"])
            set_system_role(actor=self.actor, user=user, system_role=options["system_role"], reason=options["reason"])
            return
        project = find_project(options["project"])
        member = find_owner(options["user"], project)
        roles = [part.strip() for part in options["roles"].split(",") if part.strip()]
        about: dict[str, Any] = {"project": project, "member": member, "reason": options["reason"]}
        if roles:
            set_member_roles(actor=self.actor, roles=roles, **about)
        else:
            remove_member(actor=self.actor, **about)
