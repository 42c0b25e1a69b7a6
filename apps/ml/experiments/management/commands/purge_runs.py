"""manage.py purge_runs [--older-than 30d] [--project SLUG] [--dry-run]"""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from apps.core.errors import Invalid
from apps.ml.experiments.purge.deletion import purge_runs
from apps.ml.experiments.purge.retention import PurgeDecision
from apps.platform.accounts.management.base import OperatorCommand, find_project
from apps.platform.accounts.models import Project
from apps.platform.artifacts.gc_preview import read_age
from deepseek.messages import N_


def parse_age(text: str) -> timedelta:
    try:
        return read_age(text)
    except Invalid as error:
        raise ArgumentTypeError(f"{error.message[:-1]}: a number with d, h or m, for instance 30d") from None


class Command(OperatorCommand):
    help = (
        "Remove for good the runs, the logged models and then the experiments that were deleted long ago and that no "
        "version, approval, lineage or legal hold keeps. Prints a line each: goes or stays, id, points, files, bytes, "
        "name or why. The bytes of their files are garbage then: collect_garbage. The plane may be running."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="list what would go, and remove nothing")
        parser.add_argument("--older-than", type=parse_age, help="deleted for so long (default: RUN_RETENTION_DAYS)")
        parser.add_argument("--project", default="", metavar="SLUG", help="only of this project")

    def handle(self, *args: Any, **options: Any) -> None:
        older_than = options["older_than"]
        if older_than is None:
            older_than = timedelta(days=settings.ENV.run_retention_days)
            if not older_than:
                raise Invalid(
                    "RUN_RETENTION_DAYS is 0: deleted runs are kept.",
                    code="no_retention",
                    field="--older-than",
                    hint=N_("Set it, or say how long ago: --older-than 30d."),
                )
        projects = Project.objects.order_by("slug")
        chosen = [find_project(options["project"])] if options["project"] else projects
        dry = options["dry_run"]
        for project in chosen:
            done = purge_runs(actor=self.actor, project=project, older_than=older_than, dry_run=dry, say=self.say)
            for pk in done.models:
                self.stdout.write(f"goes logged_model {pk}")
            for pk, why in done.models_kept.items():
                self.stdout.write(f"stays logged_model {pk} {why}")
            for name in done.experiments:
                self.stdout.write(f"goes experiment {name}")
            things = f"{done.runs:,} runs, {len(done.models):,} logged models and {len(done.experiments):,} experiments"
            self.stderr.write(
                f"{project.slug}: {things} with {done.points:,} points and {done.files:,} files of {done.bytes:,} "
                f"bytes {'would go' if dry else 'are gone'}; {done.kept:,} stay."
            )

    def say(self, one: PurgeDecision) -> None:
        word, tail = ("stays", one.kept) if one.kept else ("goes", one.run.name)
        self.stdout.write(f"{word} {one.run.pk} {one.points} {one.files} {one.bytes} {tail}")
