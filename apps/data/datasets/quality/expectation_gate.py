"""Whether a table is what its dataset expects, found out while a push or a request waits, before a version is made.

The engine is asked in a bounded child (bounded_process.py), on a copy of the table that has no name. What is too
large, or takes too long, is left to a job.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict
from typing import IO, Any

from django.conf import settings
from django.db import connection

from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid, Unavailable
from apps.data.datasets import bounded_process
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.quality.required_expectations import FIELD, WAY_OUT, Checked, demanding
from apps.data.datasets.queries import chunks_of
from apps.data.datasets.versions.manifest import VersionFile, dialect_of, main_table, manifest_text
from apps.platform.accounts.models import Project
from deepseek.messages import N_, Message, restore_message
from deepseek.tables.csv_dialect import CsvDialect

SECONDS = 40
WAITS_SECONDS = 15.0  # for a turn: both together are less than another push waits for this one, and a proxy for both
MEMORY_BYTES = 2 * 2**30  # of addresses: libraries reserve far more than they touch
WRITTEN_BYTES = 2 * 2**30  # of a file: text that is put aside as numbers takes up to eight times its size
AT_ONCE = 1  # child of this process: all web processes of a host share its memory
NAMED = 20  # errors that a refusal tells
LEAST_SECONDS = 1  # with less left the engine is not started
OF_ERRORS = ("field", "limit", "hint")

slots = threading.BoundedSemaphore(AT_ONCE)


def check_expected(project: Project, dataset_name: str, files: Sequence[VersionFile]) -> Checked | None:
    """What the dataset expects, checked on the main table of what shall be a version. Call it in no transaction.

    None where the dataset demands nothing, or these files are a version of it already. Raises Invalid with each
    expectation that does not hold, or with what is wrong with the table; Conflict (expectations_unchecked) where that
    cannot be found out while somebody waits, Unavailable where others wait already.
    """
    dataset = demanding(project, dataset_name)
    if dataset is None or is_version(dataset, files):
        return None
    table = main_table(files)
    if table is None:
        raise left_to_a_job(
            Message(
                "The dataset {dataset_name} takes only versions that were checked, and none of these files is a table.",
                dataset_name=dataset.name,
            ),
            hint=Message("Add the table: CSV, Parquet, JSON lines or Arrow."),
        )
    path, artifact, kind = table
    limit = settings.ENV.check_limit_bytes
    if artifact.size > limit:
        raise left_to_a_job(
            Message(
                "The dataset {dataset_name} takes only versions that a job has checked: {path} has "
                "{artifact_size} bytes, and only up to {limit} bytes are checked while you wait.",
                dataset_name=dataset.name,
                path=path,
                artifact_size=artifact.size,
                limit=limit,
            ),
            limit=f"{limit} bytes",
        )
    if not connection.in_atomic_block:
        connection.close()  # the check must not keep one of the pool's connections
    spec = {"csv": asdict(dialect_of(kind) or CsvDialect()), FIELD: dataset.expectations, "on_failure": "fail"}
    with turn(), copy_of(artifact.digest) as (file, left):
        answer = asked(file, json.dumps(spec), left)
    if answer.fault is not None:
        raise unanswered(dataset, path, answer.fault)
    if answer.document is None:
        raise failed(dataset, path, answer.errors)
    unmet = sum(one["verdict"] != "pass" for one in answer.document["expectations"])
    return Checked(artifact.digest, kind, dataset.expectations, unmet, answer.document["warnings"])


def is_version(dataset: Dataset, files: Sequence[VersionFile]) -> bool:
    digest = sha256_hex(manifest_text(files))
    return DatasetVersion.objects.filter(dataset=dataset, digest=digest, deleted_at=None).exists()


def turn() -> AbstractContextManager[None]:
    busy = Unavailable(
        "Another table is checked at this moment.",
        code="checks_busy",
        limit=AT_ONCE,
        hint=N_("Try again in a moment."),
    )
    return bounded_process.take_slot(slots, WAITS_SECONDS, busy)


@contextmanager
def copy_of(digest: str) -> Iterator[tuple[IO[bytes], int]]:
    """The table in a file without a name, and the seconds that are left; Damaged where the store has lost it."""
    ends = time.monotonic() + SECONDS
    with tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR) as file:
        with closing(chunks_of(digest)) as chunks:
            for chunk in chunks:
                file.write(chunk)
                if time.monotonic() > ends:
                    break
        file.flush()
        yield file, int(ends - time.monotonic())


def asked(file: IO[bytes], spec: str, left: int) -> bounded_process.Answer:
    if left < LEAST_SECONDS:
        return bounded_process.Answer(fault=bounded_process.Fault.TIME)
    words = ["profile", bounded_process.path_of(file), "--check", "--json", "--spec", "/dev/stdin"]
    return bounded_process.ask(words, spec, file, limits=bounded_process.Limits(left, MEMORY_BYTES, WRITTEN_BYTES))


def failed(dataset: Dataset, path: str, errors: Sequence[dict[str, Any]]) -> Invalid:
    """Each error in the words of a job's. The refusal itself shows no cell: the audit trail keeps that for ever."""
    rows = [
        {name: one.get(name) for name in ("code", *OF_ERRORS)}
        | {"message": restore_message(one), "hint": restore_message(one, "hint") or None}
        for one in errors[:NAMED]
    ]
    if len(errors) > NAMED:
        rows[-1]["message"] = Message(
            "{message} {count} more fail.", message=rows[-1]["message"], count=len(errors) - NAMED
        )
    broken = "; ".join(str(one["limit"]) for one in rows if one["code"] == "expectation_failed")
    message = (
        Message(
            "{path} is not what {dataset_name} expects: {broken}.", path=path, dataset_name=dataset.name, broken=broken
        )
        if broken
        else Message("{path} cannot be checked, for it cannot be read.", path=path)
    )
    return Invalid(message, code=rows[0]["code"], **{name: rows[0][name] for name in OF_ERRORS}, errors=rows)


def unanswered(dataset: Dataset, path: str, fault: bounded_process.Fault) -> Conflict:
    if fault is bounded_process.Fault.TIME:
        return left_to_a_job(
            Message(
                "The dataset {dataset_name} takes only versions that a job has checked: to check {path} "
                "took longer than {seconds} s, and was stopped.",
                dataset_name=dataset.name,
                path=path,
                seconds=SECONDS,
            ),
            limit=f"{SECONDS} s",
        )
    if fault is bounded_process.Fault.MEMORY:
        most = f"{MEMORY_BYTES >> 20} MiB"
        return left_to_a_job(
            Message(
                "The dataset {dataset_name} takes only versions that a job has checked: to check {path} "
                "takes more than {most} of memory.",
                dataset_name=dataset.name,
                path=path,
                most=most,
            ),
            limit=most,
        )
    return left_to_a_job(
        Message(
            "The dataset {dataset_name} takes only versions that a job has checked: the engine could "
            "not check {path} on this host, and the log of the web process says why.",
            dataset_name=dataset.name,
            path=path,
        )
    )


def left_to_a_job(message: str, *, limit: str | None = None, hint: str = WAY_OUT) -> Conflict:
    return Conflict(message, code="expectations_unchecked", field="dataset", limit=limit, hint=hint)
