"""The folder of a study on this node: keys of the job, egress ledger and state. It outlives every attempt.

Beside the folder, where no engine can write, a file is its lock and names the attempt whose keys are in it: what an
attempt that has lost its job does at its end is no harm to the one that follows.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.ml.federation.identity import load_job_identity
from apps.ml.federation.models import LedgerEntry, SiteStudy
from apps.platform.jobs.models import Job
from deepseek.federated.credentials import CA_CERTIFICATE, LEDGER_KEY, save_credential
from deepseek.federated.ledger import MAX_LEDGER_BYTES
from deepseek.federated.ledger_verifier import encode_canonical
from deepseek.federated.spec import SERVER_NAME, StudySpec, compute_study_digest

FOLDER, LEDGER_NAME, ROUNDS_NAME = "federation", "ledger.jsonl", "rounds.json"
SERVER_KIND, SITE_KIND = "federation_server", "federation_site"
KEY_PATTERNS = ("*.key", ".*.key.*")
CHUNK_BYTES = 4 * 2**20  # of the ledger at a time; a line has less than 2 KiB
MAX_ROUNDS_BYTES = 32 * 2**20


def build_home_path(job: Job) -> Path:
    """Of the study and site that the job names, in its project: another attempt, and another job, find it again."""
    spec = json.loads(job.spec)
    digest = compute_study_digest(StudySpec.model_validate(spec["study"]))
    return Path(settings.PLANE_HOME) / FOLDER / str(job.project_id) / digest / str(spec.get("site", SERVER_NAME))


def prepare_home(job: Job, *, actor: Actor) -> Path:
    """Put the keys of the job into its folder. Raises PlaneError for a job of no study that runs, StaleState where a
    later attempt has done so already: this one has lost the job."""
    identity, home = load_job_identity(actor=actor, job=job), build_home_path(job)
    name = "site" if job.kind == SITE_KIND else "server"
    with lock_home(home) as lock:
        if read_holder(lock) > (job.pk, job.attempt):
            raise StaleState(
                "Job {job_pk} is not held by attempt {attempt} any more.", job_pk=job.pk, attempt=job.attempt
            )
        write_holder(lock, job)
        try:
            save_credential(home, CA_CERTIFICATE, identity.authority.encode())
            save_credential(home, f"{name}.pem", identity.certificate.encode())
            save_credential(home, f"{name}.key", identity.key.encode())
            if identity.ledger_key:
                save_credential(home, LEDGER_KEY, identity.ledger_key.encode())
        except OSError:
            unlink_keys(home)
            raise
    return home


def remove_keys(home: Path, job: Job) -> None:
    """Take away the private keys that this attempt of `job` has put there, and not those of a later one: they are in
    the folder only while a job runs, and encrypted in the database."""
    if not home.is_dir():
        return
    with lock_home(home) as lock:
        if read_holder(lock) <= (job.pk, job.attempt):
            clear_keys(home, lock)


def clear_keys(home: Path, lock: int) -> None:
    """Remove every private key, and nobody holds the folder: a plane that was restored may number its jobs anew."""
    unlink_keys(home)
    os.ftruncate(lock, 0)


def unlink_keys(home: Path) -> None:
    """Remove every private key, those too that were being written when a worker was killed."""
    for pattern in KEY_PATTERNS:
        for path in home.glob(pattern):
            path.unlink(missing_ok=True)


# -- the lock -------------------------------------------------------------------------------------------------------
def build_lock_path(home: Path) -> Path:
    return home.with_name(f".{home.name}.lock")


@contextmanager
def lock_home(home: Path) -> Iterator[int]:
    """Hold the folder's lock; yields the descriptor of the file. For moments: nobody waits for an engine."""
    home.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(build_lock_path(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def read_holder(lock: int) -> tuple[int, int]:
    """(job, attempt) of whoever has put keys into the folder last; zeros for nobody."""
    job, _, attempt = os.pread(lock, 100, 0).decode("ascii", "replace").partition(" ")
    return (int(job), int(attempt)) if job.isdecimal() and attempt.isdecimal() else (0, 0)


def write_holder(lock: int, job: Job) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{job.pk} {job.attempt}".encode(), 0)


def remove_home(home: Path) -> None:
    """Remove the folder, which the caller has locked, and with the last one of its study that of the study."""
    shutil.rmtree(home)
    build_lock_path(home).unlink(missing_ok=True)
    with suppress(OSError):  # the server's and a site's folder may stand side by side
        home.parent.rmdir()
        home.parent.parent.rmdir()


def list_homes() -> list[Path]:
    """Every folder of a study on this node."""
    root = Path(settings.PLANE_HOME) / FOLDER
    return sorted(path for path in root.glob("*/*/[!.]*") if path.is_dir() and not path.is_symlink())


# -- what an engine has written -------------------------------------------------------------------------------------
def has_ledger(home: Path) -> bool:
    """Whether anything stands in the ledger: then the folder has a state that no other node has."""
    return bool(read_part(home / LEDGER_NAME, 0, 1))


def restore_ledger(site_study: SiteStudy, home: Path, *, actor: Actor) -> None:
    """Write the lines that the plane has where the folder has none: the job ran on another node.

    The engine then knows that updates have left, and refuses to go on without the state that says what they spent.
    """
    path = home / LEDGER_NAME
    if path.exists():
        return
    rows = LedgerEntry.objects.visible_to(actor).filter(site_study=site_study).order_by("pk")
    lines = [encode_canonical(document) + b"\n" for document in rows.values_list("document", flat=True)]
    if lines:
        save_credential(home, LEDGER_NAME, b"".join(lines))


def read_ledger_lines(home: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Complete lines of the ledger from a byte on, and where they end: there again where no further one is complete."""
    if offset >= MAX_LEDGER_BYTES:
        return [], offset
    data = read_part(home / LEDGER_NAME, offset, CHUNK_BYTES)
    complete = data[: data.rfind(b"\n") + 1]
    if not complete and len(data) == CHUNK_BYTES:  # no line of a ledger: it must not hide those behind it
        complete = data
    return [parse_line(line) for line in complete.splitlines()], offset + len(complete)


def read_part(path: Path, offset: int, size: int) -> bytes:
    """At most `size` bytes of a file that an engine writes; none where it is missing, or no regular file.

    The worker may read more than the engine: a link or a pipe in its place is not followed, and not waited for.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return os.pread(descriptor, size, offset) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""


def parse_line(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    return entry if isinstance(entry, dict) else {}


def read_rounds(home: Path) -> list[dict[str, Any]]:
    """What the server's engine has kept of its rounds."""
    try:
        rounds = json.loads(read_part(home / ROUNDS_NAME, 0, MAX_ROUNDS_BYTES))
    except (ValueError, RecursionError):
        return []
    return [each for each in rounds if isinstance(each, dict)] if isinstance(rounds, list) else []
