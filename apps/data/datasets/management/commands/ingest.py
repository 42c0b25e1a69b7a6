"""manage.py ingest PATH --project SLUG --dataset NAME [--mode copy|link] [--images] [--note TEXT] [--actor USER]"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from apps.core.actors import Actor
from apps.data.datasets.ingest.local_files import MODES, IngestResult, ingest
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.management.base import OperatorCommand, find_project, find_user

MAX_REASONS_SHOWN = 5
PROGRESS_INTERVAL_SECONDS = 1.0


class Command(OperatorCommand):
    help = (
        "Make a version of a dataset of a file, or of a folder with all that is in it; the dataset is made if there is "
        "none. The same files again are the same version, and a second run reads only what changed. For files on this "
        "machine: from elsewhere, upload artifacts and add a version of them by REST."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, help="a file, or a folder")
        parser.add_argument("--project", required=True, help="slug of the project")
        parser.add_argument("--dataset", required=True, help="name of the dataset")
        parser.add_argument(
            "--mode",
            choices=MODES,
            default="copy",
            help="copy the bytes (the default), or link: the very files become the store's, read-only; "
            "they must lie on the store's file system",
        )
        parser.add_argument(
            "--images", action="store_true", help="a folder of images: images.csv lists and labels them"
        )
        parser.add_argument("--note", default="", help="what the version is, up to 500 characters")
        parser.add_argument("--actor", default="", help="the person to act as (default: the operator)")

    def handle(self, *args: Any, **options: Any) -> None:
        project = find_project(options["project"])
        actor: Actor = build_actor_for_user(find_user(options["actor"])) if options["actor"] else self.actor
        begun = time.monotonic()
        result = ingest(
            actor=actor,
            project=project,
            dataset_name=options["dataset"],
            path=options["path"],
            mode=options["mode"],
            note=options["note"],
            images=options["images"],
            report_progress=IngestProgress() if sys.stderr.isatty() else None,
        )
        self.report_result(result, time.monotonic() - begun)

    def report_result(self, result: IngestResult, seconds: float) -> None:
        self.stdout.write(
            f"{result.version}{'' if result.is_new else ' (it was there already)'}: {result.version.digest}"
        )
        self.stdout.write(
            f"{result.files:,} files, {result.bytes:,} bytes; "
            f"read {result.read:,} files of {result.bytes_read:,} bytes "
            f"in {seconds:.1f} s ({result.bytes_read / max(seconds, 1e-3) / 1e6:,.0f} MB/s), {result.linked:,} linked, "
            f"{result.stored_before:,} stored before."
        )
        if result.images:
            params = result.images.params
            self.stdout.write(
                f"{params['images']:,} images of {params['classes_count']:,} classes; {params['unreadable']:,} "
                f"unreadable, {params['duplicates']:,} duplicates, {params['nearly_empty']:,} nearly empty."
            )
        if result.version.parts:
            self.stdout.write(f"One table of {result.version.rows:,} rows in {result.version.parts:,} parts.")
        elif result.not_parts:
            self.stderr.write(f"These Parquet files are not the parts of one table: {result.not_parts}")
        for path, why in list(result.not_linked.items())[:MAX_REASONS_SHOWN]:
            self.stderr.write(f"{path} was copied instead of linked: {why}.")
        if len(result.not_linked) > MAX_REASONS_SHOWN:
            self.stderr.write(f"... and {len(result.not_linked) - MAX_REASONS_SHOWN} more.")


class IngestProgress:
    """One line on a terminal, now and then."""

    def __init__(self) -> None:
        self.last_report = 0.0

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.last_report > PROGRESS_INTERVAL_SECONDS or done == total:
            self.last_report = time.monotonic()
            sys.stderr.write(f"\r{done:,} of {total:,} files" + ("\n" if done == total else ""))
            sys.stderr.flush()
