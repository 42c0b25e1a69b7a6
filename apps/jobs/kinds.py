"""Every kind of job, whole. A new kind is one entry here, an engine folder, a worker file and its tests.

The HTML form, the API schema, the docs page and the validation derive from the spec; `workers/kinds.py` maps the
same keys to engine functions, and a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from pydantic import BaseModel

from deepseek.clean.spec import CleanSpec
from deepseek.noop.spec import NoopSpec

GiB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What an attempt takes of a node while it runs."""

    cpus: float = 1.0
    memory_bytes: int = 1 * GiB
    gpus: int = 0
    gpu_memory_bytes: int = 0  # of each GPU


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    label: str | Promise
    doc: str | Promise
    spec: type[BaseModel]
    queue: str  # "cpu" or "gpu": which workers hear the doorbell
    inputs: tuple[str, ...] = ()  # slots that must be filled
    optional_inputs: tuple[str, ...] = ()
    any_inputs: bool = False  # takes slots of any name
    outputs: tuple[str, ...] = ()
    registers: tuple[str, ...] = ()  # keys that `register` may have
    needs: Needs = Needs()
    time_limit_seconds: int = 3600
    max_attempts: int = 3
    permission: str = "job.submit"


KINDS: dict[str, JobKind] = {
    "noop": JobKind(
        label=_("No operation"),
        doc=_("Waits, reports and writes a note: to try the plane out."),
        spec=NoopSpec,
        queue="cpu",
        any_inputs=True,
        outputs=("note", "echo"),
        needs=Needs(cpus=0.1, memory_bytes=64 * 2**20),
        time_limit_seconds=86_400,
    ),
    "clean": JobKind(
        label=_("Clean a table"),
        doc=_("Fills missing values, treats outliers, and measures quality before and after."),
        spec=CleanSpec,
        queue="cpu",
        inputs=("table",),
        outputs=("table", "quality_before", "quality_after"),
        registers=("dataset",),
        needs=Needs(cpus=1.0, memory_bytes=1 * GiB),
        time_limit_seconds=3600,
    ),
}
