"""Which outputs of earlier jobs fill the slots of a new one: what its form offers, and what goes together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import Job, JobOutput
from apps.platform.jobs.states import JobState

JOBS_OFFERED = 50  # of each kind, the newest
TRAINED = {name: ("train", name) for name in ("model", "manifest", "heldout")}

SOURCES: dict[str, dict[str, tuple[str, str]]] = {
    "quantize": TRAINED,
    "compile": TRAINED,
    "evaluate": {slot: TRAINED[slot] for slot in ("model", "manifest")},
    "register": {
        f"{form}{ending}": (kind, slot)
        for form, kind in (("fp32", "train"), ("int8", "quantize"), ("compiled", "compile"))
        for ending, slot in (("", "model"), ("_manifest", "manifest"), ("_figures", "figures"))
    },
}
"""Kind -> slot -> (kind, slot) of the jobs whose outputs fill it. A slot that is not here takes a table."""


@dataclass(frozen=True, slots=True)
class Made:
    """An output of an earlier job."""

    job: int
    kind: str
    name: str  # of the job
    slot: str
    digest: str

    @property
    def label(self) -> str:
        told = {"job": self.job, "kind": self.kind, "slot": self.slot, "name": self.name}
        if self.name:
            return _("%(slot)s of #%(job)d %(kind)s, %(name)s") % told
        return _("%(slot)s of #%(job)d %(kind)s") % told


def outputs_offered(actor: Actor, project: Project, kind: str) -> list[Made]:
    """The outputs of the newest jobs that fill slots of this kind, newest first: a query per kind, and one."""
    wanted = SOURCES.get(kind, {})
    newest: list[int] = []
    for source in {source for source, _slot in wanted.values()}:
        jobs = Job.objects.visible_to(actor).filter(project=project, kind=source, state=JobState.SUCCEEDED)
        newest += jobs.order_by("-pk").values_list("pk", flat=True)[:JOBS_OFFERED]
    slots = {slot for _source, slot in wanted.values()}
    found = JobOutput.objects.filter(job__in=newest, slot__in=slots).order_by("-job_id").select_related("job")
    return [Made(one.job_id, one.job.kind, one.job.name, one.slot, one.artifact_id) for one in found] if newest else []


def choices_of(kind: str, slot: str, made: list[Made]) -> list[tuple[str, str]]:
    """(digest, label) of what fills the slot, each digest once under its newest job."""
    once: dict[str, str] = {}
    for one in made:
        if (one.kind, one.slot) == SOURCES[kind].get(slot):
            once.setdefault(one.digest, one.label)
    return list(once.items())


def companions(kind: str, slot: str, digest: str, made: list[Made]) -> Mapping[str, str]:
    """{other slot: digest} of the job that made what fills `slot`: a model goes with its manifest and held-out rows."""
    wanted = SOURCES.get(kind, {})
    source = wanted.get(slot)
    by_job: dict[int, dict[tuple[str, str], str]] = defaultdict(dict)
    for one in made:
        by_job[one.job][one.kind, one.slot] = one.digest
    found = next((outputs for outputs in by_job.values() if source and outputs.get(source) == digest), {})
    return {other: found[place] for other, place in wanted.items() if other != slot and place in found}
