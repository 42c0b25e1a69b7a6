"""The key under which a project's pseudonyms are made: derived, never stored, and seen by one attempt's child only."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from pathlib import Path

from django.conf import settings

from apps.platform.jobs.models import Job

SLOT = "pseudonym_key"
CONTEXT = b"plane/pseudonyms/v1\0"


def build_key(project_id: int) -> bytes:
    """32 bytes that the plane's SECRET_KEY and the project determine; another SECRET_KEY makes other pseudonyms."""
    return hmac.new(settings.SECRET_KEY.encode(), CONTEXT + str(project_id).encode(), hashlib.sha256).digest()


def is_needed(job: Job) -> bool:
    """Whether the plan of the job makes pseudonyms."""
    steps = json.loads(job.spec).get("steps") if job.kind == "clean" else None
    return any(step.get("kind") == "mask" and step.get("how") == "pseudonym" for step in steps or ())


def stage_key(job: Job, folder: Path) -> dict[str, str]:
    """Write the key into the attempt's folder, which goes with it; {slot: path}, empty where none is wanted."""
    if not is_needed(job):
        return {}
    path = folder / SLOT
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(build_key(job.project_id).hex().encode())
    return {SLOT: str(path)}
