"""Outputs of earlier jobs that can fill the input slots of a new one, and which of them belong together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import Job, JobOutput
from apps.platform.jobs.states import JobState

MAX_JOBS = 50  # of each kind, the newest
TRAIN_OUTPUTS = {name: ("train", name) for name in ("model", "manifest", "heldout")}

SOURCES: dict[str, dict[str, tuple[str, str]]] = {
    "quantize": TRAIN_OUTPUTS,
    "compile": TRAIN_OUTPUTS,
    "evaluate": {slot: TRAIN_OUTPUTS[slot] for slot in ("model", "manifest")},
    "register": {
        f"{form}{ending}": (kind, slot)
        for form, kind in (("fp32", "train"), ("int8", "quantize"), ("compiled", "compile"))
        for ending, slot in (("", "model"), ("_manifest", "manifest"), ("_figures", "figures"))
    },
}
"""Kind -> slot -> (kind, slot) of the jobs whose outputs fill it. A slot that is not here takes a table."""


@dataclass(frozen=True, slots=True)
class OutputChoice:
    """An output of an earlier job."""

    job: int
    kind: str
    name: str  # of the job
    slot: str
    digest: str

    @property
    def label(self) -> str:
        params = {"job": self.job, "kind": self.kind, "slot": self.slot, "name": self.name}
        if self.name:
            return _("%(slot)s of #%(job)d %(kind)s, %(name)s") % params
        return _("%(slot)s of #%(job)d %(kind)s") % params


def list_output_choices(actor: Actor, project: Project, kind: str) -> list[OutputChoice]:
    """The outputs of the newest jobs that fill slots of this kind, newest first: a query per kind, and one."""
    sources = SOURCES.get(kind, {})
    newest: list[int] = []
    for source in {source for source, _slot in sources.values()}:
        jobs = Job.objects.visible_to(actor).filter(project=project, kind=source, state=JobState.SUCCEEDED)
        newest += jobs.order_by("-pk").values_list("pk", flat=True)[:MAX_JOBS]
    slots = {slot for _source, slot in sources.values()}
    rows = JobOutput.objects.filter(job__in=newest, slot__in=slots).order_by("-job_id").select_related("job")
    return (
        [OutputChoice(row.job_id, row.job.kind, row.job.name, row.slot, row.artifact_id) for row in rows]
        if newest
        else []
    )


def build_slot_choices(kind: str, slot: str, made: list[OutputChoice]) -> list[tuple[str, str]]:
    """(digest, label) of what fills the slot, each digest once under its newest job."""
    once: dict[str, str] = {}
    for choice in made:
        if (choice.kind, choice.slot) == SOURCES[kind].get(slot):
            once.setdefault(choice.digest, choice.label)
    return list(once.items())


def find_companions(kind: str, slot: str, digest: str, made: list[OutputChoice]) -> Mapping[str, str]:
    """{other slot: digest} of the job that made what fills `slot`: a model goes with its manifest and held-out rows."""
    sources = SOURCES.get(kind, {})
    source = sources.get(slot)
    by_job: dict[int, dict[tuple[str, str], str]] = defaultdict(dict)
    for choice in made:
        by_job[choice.job][choice.kind, choice.slot] = choice.digest
    filled = next((outputs for outputs in by_job.values() if source and outputs.get(source) == digest), {})
    return {
        other_slot: filled[place] for other_slot, place in sources.items() if other_slot != slot and place in filled
    }
