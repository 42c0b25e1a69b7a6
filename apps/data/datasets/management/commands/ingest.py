"""manage.py ingest PATH --project SLUG --dataset NAME [--mode copy|link] [--images] [--note TEXT] [--actor USER]"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from apps.core.actors import Actor
from apps.data.datasets.ingest.local_files import MODES, Ingested, ingest
from apps.platform.accounts.actors import actor_for_user
from apps.platform.accounts.management.base import OperatorCommand, find_project, find_user

SHOWN = 5
TOLD_SECONDS = 1.0


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
        actor: Actor = actor_for_user(find_user(options["actor"])) if options["actor"] else self.actor
        begun = time.monotonic()
        done = ingest(
            actor=actor,
            project=project,
            dataset_name=options["dataset"],
            path=options["path"],
            mode=options["mode"],
            note=options["note"],
            images=options["images"],
            say=Progress() if sys.stderr.isatty() else None,
        )
        self.tell(done, time.monotonic() - begun)

    def tell(self, done: Ingested, seconds: float) -> None:
        self.stdout.write(f"{done.version}{'' if done.is_new else ' (it was there already)'}: {done.version.digest}")
        self.stdout.write(
            f"{done.files:,} files, {done.bytes:,} bytes; read {done.read:,} files of {done.bytes_read:,} bytes "
            f"in {seconds:.1f} s ({done.bytes_read / max(seconds, 1e-3) / 1e6:,.0f} MB/s), {done.linked:,} linked, "
            f"{done.stored_before:,} stored before."
        )
        if done.images:
            told = done.images.params
            self.stdout.write(
                f"{told['images']:,} images of {told['classes_count']:,} classes; {told['unreadable']:,} unreadable, "
                f"{told['duplicates']:,} duplicates, {told['nearly_empty']:,} nearly empty."
            )
        for path, why in list(done.not_linked.items())[:SHOWN]:
            self.stderr.write(f"{path} was copied instead of linked: {why}.")
        if len(done.not_linked) > SHOWN:
            self.stderr.write(f"... and {len(done.not_linked) - SHOWN} more.")


class Progress:
    """One line on a terminal, now and then."""

    def __init__(self) -> None:
        self.told = 0.0

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.told > TOLD_SECONDS or done == total:
            self.told = time.monotonic()
            sys.stderr.write(f"\r{done:,} of {total:,} files" + ("\n" if done == total else ""))
            sys.stderr.flush()
