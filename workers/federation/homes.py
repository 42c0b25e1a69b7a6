"""The folder of a study on this node: keys of the job, egress ledger and state. It outlives every attempt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.core.actors import Actor
from apps.ml.federation.identity import load_job_identity
from apps.ml.federation.models import LedgerEntry, SiteStudy
from apps.platform.jobs.models import Job
from deepseek.federated.credentials import CA_CERTIFICATE, LEDGER_KEY, save_credential
from deepseek.federated.ledger_verifier import encode_canonical
from deepseek.federated.spec import SERVER_NAME, StudySpec, compute_study_digest

FOLDER, LEDGER_NAME, ROUNDS_NAME = "federation", "ledger.jsonl", "rounds.json"
SERVER_KIND, SITE_KIND = "federation_server", "federation_site"


def build_home_path(job: Job) -> Path:
    """Of the study and site that the job names, in its project: another attempt, and another job, find it again."""
    spec = json.loads(job.spec)
    digest = compute_study_digest(StudySpec.model_validate(spec["study"]))
    return Path(settings.PLANE_HOME) / FOLDER / str(job.project_id) / digest / str(spec.get("site", SERVER_NAME))


def prepare_home(job: Job, *, actor: Actor) -> Path:
    """Put the keys of the job into its folder, and the ledger where this node has none. Raises PlaneError for a job of
    no study that runs."""
    identity, home = load_job_identity(actor=actor, job=job), build_home_path(job)
    name = "site" if job.kind == SITE_KIND else "server"
    save_credential(home, CA_CERTIFICATE, identity.authority.encode())
    save_credential(home, f"{name}.pem", identity.certificate.encode())
    save_credential(home, f"{name}.key", identity.key.encode())
    if identity.ledger_key:
        save_credential(home, LEDGER_KEY, identity.ledger_key.encode())
    return home


def remove_keys(home: Path) -> None:
    """Take the private keys away: they are in the folder only while a job runs, and encrypted in the database."""
    for path in home.glob("*.key"):
        path.unlink(missing_ok=True)


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
    """The complete lines of the ledger from a byte on, and where they end."""
    try:
        with (home / LEDGER_NAME).open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    complete = data[: data.rfind(b"\n") + 1]
    return [parse_line(line) for line in complete.splitlines()], offset + len(complete)


def parse_line(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    return entry if isinstance(entry, dict) else {}


def read_rounds(home: Path) -> list[dict[str, Any]]:
    """What the server's engine has kept of its rounds."""
    try:
        rounds = json.loads((home / ROUNDS_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [each for each in rounds if isinstance(each, dict)] if isinstance(rounds, list) else []
