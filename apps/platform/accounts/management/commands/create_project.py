"""manage.py create_project SLUG [--name TEXT]"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.platform.accounts.management.base import OperatorCommand
from apps.platform.accounts.services import create_project


class Command(OperatorCommand):
    help = "Make an empty project."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="lower-case letters, digits and hyphens; part of every address")
        parser.add_argument("--name", default="", help="as shown to people")

    def handle(self, *args: Any, **options: Any) -> None:
        project = create_project(actor=self.actor, slug=options["slug"], name=options["name"])
        self.stdout.write(project.slug)
