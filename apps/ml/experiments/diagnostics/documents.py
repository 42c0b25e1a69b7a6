"""The documents of a run's diagnostics and samples: found by their paths, read whole, and believed only if they fit.

Whoever logs a document of these schemas at these paths gets the page of a training job. One that is damaged, too large
or of another schema is left out; it stays among the artifacts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from django.db.models import Q
from pydantic import ValidationError

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.ml.experiments.models import Run, RunArtifact
from apps.platform.artifacts.services import get_artifact, require_undamaged
from apps.platform.artifacts.verification import read_verified
from deepseek.diagnostics.document import DIAGNOSTICS_NAME, Diagnostics
from deepseek.diagnostics.samples import SAMPLES, SAMPLES_NAME, Samples
from deepseek.quantize.document import TRADEOFF_NAME, Tradeoff

DIAGNOSTICS_PATH, SAMPLES_PATH = f"diagnostics/{DIAGNOSTICS_NAME}", f"samples/{SAMPLES_NAME}"
TRADEOFF_PATH = f"tradeoff/{TRADEOFF_NAME}"
DOCUMENT_PATHS = (DIAGNOSTICS_PATH, SAMPLES_PATH, TRADEOFF_PATH)
PLOTS = "plots/"
MAX_PLOTS = 50
DIAGNOSTICS_BYTES, SAMPLES_BYTES, TRADEOFF_BYTES = 4 << 20, 16 << 20, 4 << 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DiagnosticFiles:
    """Which files of a run there are to be drawn; none is read yet."""

    diagnostics: RunArtifact | None = None
    samples: RunArtifact | None = None
    tradeoff: RunArtifact | None = None  # of the forms of one model; its tab is another
    plots: list[RunArtifact] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.diagnostics is not None or self.samples is not None


def find_files(actor: Actor, run: Run) -> DiagnosticFiles:
    """One query."""
    policy.require(actor, "run.view", run)
    is_document = Q(path__in=DOCUMENT_PATHS) | Q(path__startswith=PLOTS)
    rows = list(RunArtifact.objects.filter(is_document, run=run).order_by("path")[: MAX_PLOTS + len(DOCUMENT_PATHS)])
    return sort_files(rows)


def sort_files(rows: Sequence[RunArtifact]) -> DiagnosticFiles:
    """Those of the rows that are drawn."""
    by_path = {row.path: row for row in rows}
    documents = (by_path.get(path) for path in DOCUMENT_PATHS)
    return DiagnosticFiles(*documents, plots=[row for row in rows if row.path.startswith(PLOTS)])


def list_first_files(actor: Actor, run: Run, limit: int) -> tuple[list[RunArtifact], bool, DiagnosticFiles]:
    """(the first files of a run by their paths, whether there are more, which documents are drawn); one query."""
    policy.require(actor, "run.view", run)
    first = RunArtifact.objects.filter(run=run).order_by("path").values("pk")[: limit + 1]
    is_listed = Q(pk__in=first) | Q(path__in=DOCUMENT_PATHS)
    rows = list(RunArtifact.objects.filter(is_listed, run=run).order_by("path"))
    return rows[:limit], len(rows) > limit, sort_files(rows)


def read_diagnostics(actor: Actor, run: Run, file: RunArtifact | None) -> Diagnostics | None:
    """The document, or None where it cannot be drawn."""
    return _read(actor, run, file, DIAGNOSTICS_BYTES, Diagnostics.model_validate_json)


def read_samples(actor: Actor, run: Run, file: RunArtifact | None) -> Samples | None:
    """Likewise."""
    return _read(actor, run, file, SAMPLES_BYTES, SAMPLES.validate_json)


def read_tradeoff(actor: Actor, run: Run, file: RunArtifact | None) -> Tradeoff | None:
    """Likewise."""
    document = _read(actor, run, file, TRADEOFF_BYTES, Tradeoff.model_validate_json)
    return document if document is not None and is_complete(document) else None


def is_complete(document: Tradeoff) -> bool:
    """Whether every form has a time, and one is recommended: a page begins with it."""
    has_times = all(form.timings for form in document.variants) and document.batches and document.threads
    return bool(has_times) and any(form.verdict == "recommended" for form in document.variants)


def _read(actor: Actor, run: Run, file: RunArtifact | None, limit: int, parse: Callable[[bytes], T]) -> T | None:
    if file is None or file.size > limit:
        return None
    try:
        artifact = require_undamaged(get_artifact(actor=actor, project=run.project, digest=file.artifact_id))
        return parse(read_verified(artifact))
    except (PlaneError, ValidationError, json.JSONDecodeError, RecursionError):
        return None
