"""manage.py import_mlflow SOURCE --project SLUG [--experiment NAME ...] [--as USER] [--dry-run]"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from apps.gateways.mlflow_import.file_store import FileStore
from apps.gateways.mlflow_import.import_report import ImportReport
from apps.gateways.mlflow_import.importer import Importer
from apps.gateways.mlflow_import.server import MlflowServer
from apps.gateways.mlflow_import.source_records import Source
from apps.gateways.mlflow_import.transport import ServerLogin, Transport
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.management.base import OperatorCommand, find_project, find_user

MAX_DIFFERENCES_SHOWN = 50


class Command(OperatorCommand):
    help = (
        "Take over what an MLflow server or file store holds: experiments, runs with every point of their metrics, "
        "files, logged models and the registry. Run it again to go on, or to add what is new. A server's log-in comes "
        "from MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD. Prints what there is there and here; "
        "status 1: something differs, and is named; 2: it could not be read at all."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "source",
            metavar="SOURCE",
            help="http(s)://... of a server, or a folder mlruns",
        )
        parser.add_argument("--project", required=True, help="slug of the project that gets everything")
        parser.add_argument(
            "--experiment", action="append", default=[], metavar="NAME", help="only this one; may be given repeatedly"
        )
        parser.add_argument(
            "--artifacts", type=Path, metavar="FOLDER", help="of a file store whose server kept artifacts elsewhere"
        )
        parser.add_argument(
            "--as", dest="person", default="", metavar="USER", help="act as this person (else: operator)"
        )
        parser.add_argument("--dry-run", action="store_true", help="read and compare, and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        project = find_project(options["project"])
        actor = build_actor_for_user(find_user(options["person"])) if options["person"] else self.actor
        source = open_source(options["source"], options["artifacts"])
        importer = Importer(actor, project, source, dry=options["dry_run"], log=self.log)
        report = importer.run(options["experiment"])
        self.print_report(report)
        if not report.is_equal and not options["dry_run"]:
            sys.exit(1)

    def log(self, line: str) -> None:
        self.stderr.write(line)

    def print_report(self, report: ImportReport) -> None:
        self.stdout.write(f"{'':<20}{'source':>16}{'plane':>16}")
        for kind, source_count, plane_count in report.list_counts():
            mark = "" if source_count == plane_count else "  differs"
            self.stdout.write(f"{kind:<20}{source_count:>16,}{plane_count:>16,}{mark}")
        for line in report.differences[:MAX_DIFFERENCES_SHOWN]:
            self.stdout.write(line)
        more = len(report.differences) - MAX_DIFFERENCES_SHOWN + report.left_out
        if more > 0:
            self.stdout.write(f"... and {more:,} more that differ.")
        for line in report.to_do:
            self.stdout.write(f"To do: {line}")


def open_source(text: str, artifacts: Path | None) -> Source:
    if text.startswith(("http://", "https://")):
        return MlflowServer(Transport(text, ServerLogin.from_environment(os.environ)))
    return FileStore(Path(text.removeprefix("file://")), artifacts)
