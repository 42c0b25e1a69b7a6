"""manage.py schedule: the plane's own schedules, on a host of the plane."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import NotFound, PlaneError
from apps.platform.calendars import services
from apps.platform.calendars.models import Schedule
from apps.platform.calendars.queries import list_schedules
from apps.platform.calendars.states import CatchUp, Overlap
from apps.platform.calendars.targets import SCHEDULE_TARGETS
from deepseek.messages import N_

ACTIONS = ("ls", "create", "update", "pause", "resume", "rm")
FIELDS = ("target", "cron", "timezone", "overlap", "catch_up")


class Command(BaseCommand):
    help = "List, create, change, pause, resume or delete a schedule of the plane as a whole (docs/schedules.md)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=ACTIONS, help="what to do")
        parser.add_argument("name", nargs="?", default="", help="name of the schedule")
        parser.add_argument("--target", help="what it submits, for instance probe")
        parser.add_argument("--cron", help="five fields in one argument, or @daily")
        parser.add_argument("--timezone", help="IANA name in which the expression is read (default UTC)")
        parser.add_argument("--overlap", choices=Overlap.values, help="while the former has not ended (default skip)")
        parser.add_argument(
            "--catch-up", choices=CatchUp.values, help="of times missed while the plane was down (default last)"
        )
        parser.add_argument(
            "--request", type=Path, metavar="FILE", help="JSON file: the request (default: the target's)"
        )
        parser.add_argument("--reason", default="", help="pause, rm: stands in the audit trail")

    def handle(self, *args: Any, action: str, name: str, **options: Any) -> None:
        self.actor = build_plane_actor(PlaneRole.OPERATOR)
        try:
            if action == "ls":
                self.list_schedules()
            elif action == "create":
                self.create_schedule(name, options)
            else:
                self.change_schedule(action, self.get_schedule(name), options)
        except PlaneError as error:
            raise CommandError(f"{error.message} {error.hint or ''}".strip(), returncode=2) from None

    def list_schedules(self) -> None:
        for row in list_schedules(self.actor, None).order_by("name"):
            columns = (row.name, row.state, row.target, row.cron, row.timezone, row.next_at or "-")
            self.stdout.write("\t".join(map(str, columns)))

    def create_schedule(self, name: str, options: dict[str, Any]) -> None:
        fields = {field: options[field] for field in FIELDS if options[field] is not None}
        target = SCHEDULE_TARGETS.get(fields.setdefault("target", ""))
        fields.setdefault("cron", "")
        request = self.read_request(options["request"])
        if request is None:
            request = dict(target.example) if target else {}
        schedule = services.create_schedule(actor=self.actor, project=None, name=name, request=request, **fields)
        self.stdout.write(f"created {schedule.name}: next at {schedule.next_at:%Y-%m-%d %H:%M} UTC")

    def change_schedule(self, action: str, schedule: Schedule, options: dict[str, Any]) -> None:
        if action == "update":
            changes = {field: options[field] for field in FIELDS if options[field] is not None}
            if (request := self.read_request(options["request"])) is not None:
                changes["request"] = request
            services.update_schedule(actor=self.actor, schedule=schedule, **changes)
        elif action == "pause":
            services.pause_schedule(actor=self.actor, schedule=schedule, reason=options["reason"])
        elif action == "resume":
            services.resume_schedule(actor=self.actor, schedule=schedule)
        else:
            services.delete_schedule(actor=self.actor, schedule=schedule, reason=options["reason"])
        self.stdout.write(f"{action}: {schedule.name}")

    def get_schedule(self, name: str) -> Schedule:
        schedule = list_schedules(self.actor, None).filter(name=name).first()
        if schedule is None:
            hint = N_("manage.py schedule ls lists them.")
            raise NotFound("The plane has no schedule {name!r}.", name=name[:60], field="name", hint=hint)
        return schedule

    def read_request(self, path: Path | None) -> dict[str, Any] | None:
        if path is None:
            return None
        try:
            request = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError) as failure:
            raise CommandError(f"--request {path}: {failure}", returncode=2) from None
        if not isinstance(request, dict):
            raise CommandError(f"--request {path}: it holds no JSON object", returncode=2)
        return request
