"""What the operator's commands share: who acts, how a name is looked up, how an error ends the command."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.errors import NotFound, PlaneError
from apps.platform.accounts.models import Project, ServiceAccount, User
from deepseek.messages import N_


class OperatorCommand(BaseCommand):
    """Acts as the operator; a named error is one line on stderr and exit status 2."""

    # `check` looks at the code. Here it would load every page and view first, which takes longer than most commands.
    requires_system_checks: list[str] = []

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except PlaneError as error:
            for each in error.errors:
                where = f"{each['field']}: " if each["field"] else ""
                hint = f" {each['hint']}" if each["hint"] else ""
                limit = f" ({each['limit']})" if each["limit"] is not None else ""
                self.stderr.write(f"{where}{each['message']}{limit}{hint} [{each['code']}]")
            sys.exit(2)

    @property
    def actor(self) -> Actor:
        return build_plane_actor(PlaneRole.OPERATOR)


def find_user(username: str) -> User:
    """The person of this name, whatever its case; NotFound names the argument."""
    user = User.objects.filter(username__iexact=username).first()
    if user is None:
        raise NotFound(
            "There is no user {username!r}.",
            username=username,
            field="user",
            hint=N_("manage.py create_user makes one."),
        )
    return user


def find_project(slug: str) -> Project:
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        raise NotFound(
            "There is no project {slug!r}.",
            slug=slug,
            field="--project",
            hint=N_("manage.py create_project makes one."),
        )
    return project


def find_owner(name: str, project: Project) -> User | ServiceAccount:
    """The service account of this name in the project, else the person."""
    account = ServiceAccount.objects.filter(project=project, name=name).first()
    return account or find_user(name)
