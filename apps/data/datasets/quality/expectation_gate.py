"""Check a table against its dataset's expectations during a push or a request, before the version is created.

The engine runs in a bounded child (bounded_process.py) on an anonymous copy of the table. Tables that are too large or
take too long are left to a job.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.db import connection

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid, Unavailable
from apps.data.datasets import bounded_process
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.quality.required_expectations import FIELD, UNCHECKED_HINT, CheckedTable, find_demanding_dataset
from apps.data.datasets.queries import iter_chunks
from apps.data.datasets.versions.manifest import (
    VersionFile,
    find_main_table,
    is_table_of_parts,
    parse_dialect,
    render_manifest,
)
from apps.platform.accounts.models import Project
from deepseek.messages import N_, Message, restore_message
from deepseek.tables.csv_dialect import CsvDialect

SECONDS = 40
SLOT_WAIT_SECONDS = (
    15.0  # for a turn: both together are less than another push waits for this one, and a proxy for both
)
MEMORY_BYTES = 2 * 2**30  # of addresses: libraries reserve far more than they touch
WRITTEN_BYTES = 2 * 2**30  # of a file: text that is put aside as numbers takes up to eight times its size
MAX_CHILDREN = 1  # child of this process: all web processes of a host share its memory
MAX_ERRORS_NAMED = 20  # errors that a refusal tells
MIN_SECONDS = 1  # with less left the engine is not started
ERROR_FIELDS = ("field", "limit", "hint")

slots = threading.BoundedSemaphore(MAX_CHILDREN)


def check_expectations(
    actor: Actor, project: Project, dataset_name: str, files: Sequence[VersionFile]
) -> CheckedTable | None:
    """What the dataset expects, checked on the main table of what shall be a version. Call it in no transaction.

    None where the dataset demands nothing, or these files are a version of it already. Raises Invalid with each
    expectation that does not hold, or with what is wrong with the table; Conflict (expectations_unchecked) where that
    cannot be found out while somebody waits, Unavailable where others wait already.
    """
    dataset = find_demanding_dataset(actor, project, dataset_name)
    if dataset is None or is_version(dataset, files):
        return None
    table = find_main_table(files)
    if table is None:
        raise build_deferral_conflict(
            Message(
                "The dataset {dataset_name} takes only versions that were checked, and none of these files is a table.",
                dataset_name=dataset.name,
            ),
            hint=Message("Add the table: CSV, Parquet, JSON lines or Arrow."),
        )
    path, artifact, kind = table
    parts = list(files) if is_table_of_parts(files) else []
    size = sum(part.size for _, part, _ in parts) if parts else artifact.size
    limit = settings.ENV.check_limit_bytes
    if size > limit:
        raise build_deferral_conflict(
            Message(
                "The dataset {dataset_name} takes only versions that a job has checked: {path} has "
                "{artifact_size} bytes, and only up to {limit} bytes are checked while you wait.",
                dataset_name=dataset.name,
                path=path,
                artifact_size=size,
                limit=limit,
            ),
            limit=f"{limit} bytes",
        )
    if not connection.in_atomic_block:
        connection.close()  # the check must not keep one of the pool's connections
    spec = {"csv": asdict(parse_dialect(kind) or CsvDialect()), FIELD: dataset.expectations, "on_failure": "fail"}
    with wait_for_check_slot():
        if parts:
            with copy_to_folder(parts) as (folder, left):
                answer = run_check(folder, json.dumps(spec), left)
        else:
            with copy_to_file(artifact.digest) as (file, left):
                answer = run_check(bounded_process.get_child_path(file), json.dumps(spec), left, file)
    if answer.fault is not None:
        raise build_fault_conflict(dataset, path, answer.fault)
    if answer.document is None:
        raise build_unmet_error(dataset, path, answer.errors)
    unmet = sum(expectation["verdict"] != "pass" for expectation in answer.document["expectations"])
    digest = sha256_hex(render_manifest(files)) if parts else artifact.digest
    return CheckedTable(digest, kind, dataset.expectations, unmet, answer.document["warnings"])


def is_version(dataset: Dataset, files: Sequence[VersionFile]) -> bool:
    digest = sha256_hex(render_manifest(files))
    return DatasetVersion.objects.filter(dataset=dataset, digest=digest, deleted_at=None).exists()


def wait_for_check_slot() -> AbstractContextManager[None]:
    busy = Unavailable(
        "Another table is checked at this moment.",
        code="checks_busy",
        limit=MAX_CHILDREN,
        hint=N_("Try again in a moment."),
    )
    return bounded_process.take_slot(slots, SLOT_WAIT_SECONDS, busy)


@contextmanager
def copy_to_file(digest: str) -> Iterator[tuple[IO[bytes], int]]:
    """The table in a file without a name, and the seconds that are left; Damaged where the store has lost it."""
    deadline = time.monotonic() + SECONDS
    with tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR) as file:
        with closing(iter_chunks(digest)) as chunks:
            for chunk in chunks:
                file.write(chunk)
                if time.monotonic() > deadline:
                    break
        file.flush()
        yield file, int(deadline - time.monotonic())


@contextmanager
def copy_to_folder(parts: Sequence[VersionFile]) -> Iterator[tuple[str, int]]:
    """The parts of a table in a folder of their own, and the seconds that are left; Damaged as above."""
    deadline = time.monotonic() + SECONDS
    with tempfile.TemporaryDirectory(dir=settings.FILE_UPLOAD_TEMP_DIR, prefix="check-") as folder:
        for path, artifact, _ in parts:
            target = Path(folder) / path  # check_files has refused whatever would lead out of it
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file, closing(iter_chunks(artifact.digest)) as chunks:
                for chunk in chunks:
                    file.write(chunk)
                    if time.monotonic() > deadline:
                        break
        yield folder, int(deadline - time.monotonic())


def run_check(path: str, spec: str, left: int, *files: IO[bytes]) -> bounded_process.ProcessAnswer:
    """Run the engine's check of the table at `path`, which may be one of the open `files`."""
    if left < MIN_SECONDS:
        return bounded_process.ProcessAnswer(fault=bounded_process.ProcessFault.TIME)
    args = ["profile", path, "--check", "--json", "--spec", "/dev/stdin"]
    return bounded_process.run_engine(
        args, spec, *files, limits=bounded_process.ProcessLimits(left, MEMORY_BYTES, WRITTEN_BYTES)
    )


def build_unmet_error(dataset: Dataset, path: str, errors: Sequence[dict[str, Any]]) -> Invalid:
    """Each error in the words of a job's. The refusal itself shows no cell: the audit trail keeps that for ever."""
    rows = [
        {name: error.get(name) for name in ("code", *ERROR_FIELDS)}
        | {"message": restore_message(error), "hint": restore_message(error, "hint") or None}
        for error in errors[:MAX_ERRORS_NAMED]
    ]
    if len(errors) > MAX_ERRORS_NAMED:
        rows[-1]["message"] = Message(
            "{message} {count} more fail.", message=rows[-1]["message"], count=len(errors) - MAX_ERRORS_NAMED
        )
    broken = "; ".join(str(error["limit"]) for error in rows if error["code"] == "expectation_failed")
    message = (
        Message(
            "{path} is not what {dataset_name} expects: {broken}.", path=path, dataset_name=dataset.name, broken=broken
        )
        if broken
        else Message("{path} cannot be checked, for it cannot be read.", path=path)
    )
    return Invalid(message, code=rows[0]["code"], **{name: rows[0][name] for name in ERROR_FIELDS}, errors=rows)


def build_fault_conflict(dataset: Dataset, path: str, fault: bounded_process.ProcessFault) -> Conflict:
    if fault is bounded_process.ProcessFault.TIME:
        return build_deferral_conflict(
            Message(
                "The dataset {dataset_name} takes only versions that a job has checked: to check {path} "
                "took longer than {seconds} s, and was stopped.",
                dataset_name=dataset.name,
                path=path,
                seconds=SECONDS,
            ),
            limit=f"{SECONDS} s",
        )
    if fault is bounded_process.ProcessFault.MEMORY:
        most = f"{MEMORY_BYTES >> 20} MiB"
        return build_deferral_conflict(
            Message(
                "The dataset {dataset_name} takes only versions that a job has checked: to check {path} "
                "takes more than {most} of memory.",
                dataset_name=dataset.name,
                path=path,
                most=most,
            ),
            limit=most,
        )
    return build_deferral_conflict(
        Message(
            "The dataset {dataset_name} takes only versions that a job has checked: the engine could "
            "not check {path} on this host, and the log of the web process says why.",
            dataset_name=dataset.name,
            path=path,
        )
    )


def build_deferral_conflict(message: str, *, limit: str | None = None, hint: str = UNCHECKED_HINT) -> Conflict:
    return Conflict(message, code="expectations_unchecked", field="dataset", limit=limit, hint=hint)
