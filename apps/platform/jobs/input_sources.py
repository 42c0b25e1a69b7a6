"""Outputs of earlier jobs that can fill the input slots of a new one, and which of them belong together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job, JobOutput
from apps.platform.jobs.states import JobState
from deepseek.register.spec import QUANTIZED_FORMS

MAX_JOBS = 50  # of each kind, the newest
TRAININGS = tuple(
    key
    for key, kind in KINDS.items()
    if {"model", "manifest", "figures"} <= set(kind.outputs) and "model" not in kind.inputs
)
"""Kinds whose jobs make a model of data: any of them may be the trained form of a version."""
EVALUATED = (
    "train",
    "train_entities",
    "train_image",
    "train_language",
    "merge_adapter",
)  # what `deepseek evaluate` can run
EXPORTED = ("train", "train_entities", "train_image")
Slots = dict[str, tuple[tuple[str, ...], str]]
TRAINED_OUTPUTS: Slots = {name: (EXPORTED, name) for name in ("model", "manifest", "heldout")}

SCHEDULES: Slots = {"schedules": (("compile",), "schedules")}
SOURCES: dict[str, Slots] = {
    "train_image": {"weights": (("train_image",), "model")},
    "train_entities": {"weights": (("train_entities",), "model")},
    "quantize": TRAINED_OUTPUTS,
    "compile": TRAINED_OUTPUTS | SCHEDULES,
    "export": {
        **{slot: (EXPORTED, slot) for slot in ("model", "manifest")},
        "heldout": (("train", "train_image"), "heldout"),  # no form of a model of texts is measured
    },
    "evaluate": {slot: (EVALUATED, slot) for slot in ("model", "manifest")},
    "merge_adapter": {slot: (("train_language",), slot) for slot in ("model", "manifest")},
    "register": {
        f"{form}{ending}": (kinds, slot)
        for form, kinds in (
            ("fp32", TRAININGS),
            ("int8", ("quantize",)),
            ("compiled", ("compile",)),
            ("exported", ("export",)),
        )
        for ending, slot in (("", "model"), ("_manifest", "manifest"), ("_figures", "figures"))
    }
    | {
        f"{form}{ending}": (("quantize",), f"{form}{ending}")
        for form in QUANTIZED_FORMS
        for ending in ("", "_manifest", "_figures")
    },
}
"""Kind -> slot -> (kinds, slot) of the jobs whose outputs fill it. A slot that is not here takes data."""

AUTOMATIC = {"compile": ("schedules",)}
"""Kind -> slots that the newest such output of the project fills where nothing is given."""


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
    for source in {kind for kinds, _slot in sources.values() for kind in kinds}:
        jobs = Job.objects.visible_to(actor).filter(project=project, kind=source, state=JobState.SUCCEEDED)
        newest += jobs.order_by("-pk").values_list("pk", flat=True)[:MAX_JOBS]
    slots = {slot for _source, slot in sources.values()}
    rows = JobOutput.objects.filter(job__in=newest, slot__in=slots).order_by("-job_id").select_related("job")
    return (
        [OutputChoice(row.job_id, row.job.kind, row.job.name, row.slot, row.artifact_id) for row in rows]
        if newest
        else []
    )


def find_automatic_inputs(project: Project, kind: str, filled: Collection[str]) -> dict[str, str]:
    """{slot: digest} of what a job of this kind takes by itself: the newest output, undamaged, of a job that succeeded.

    A job that takes it has it among its inputs, as if it had been given.
    """
    matches: dict[str, str] = {}
    for slot in AUTOMATIC.get(kind, ()):
        kinds, name = SOURCES[kind][slot]
        outputs = JobOutput.objects.filter(slot=name, job__kind__in=kinds, job__project=project)
        usable = outputs.filter(artifact__holdings__project=project, artifact__damaged_at=None)
        newest = usable.filter(job__state=JobState.SUCCEEDED).order_by("-job_id").first()
        if newest is not None and slot not in filled:
            matches[slot] = newest.artifact_id
    return matches


def build_slot_choices(kind: str, slot: str, made: list[OutputChoice]) -> list[tuple[str, str]]:
    """(digest, label) of what fills the slot, each digest once under its newest job."""
    once: dict[str, str] = {}
    source = SOURCES[kind].get(slot)
    for choice in made:
        if _fills(choice, source):
            once.setdefault(choice.digest, choice.label)
    return list(once.items())


def find_companions(kind: str, slot: str, digest: str, made: list[OutputChoice]) -> Mapping[str, str]:
    """{other slot: digest} of the job that made what fills `slot`: a model goes with its manifest and held-out rows."""
    sources = SOURCES.get(kind, {})
    source = sources.get(slot)
    job = next((choice.job for choice in made if choice.digest == digest and _fills(choice, source)), None)
    filled: dict[str, str] = {}
    for choice in made:
        if choice.job == job:
            matching = (
                candidate
                for candidate, place in sources.items()
                if candidate != slot and _fills(choice, place) and _get_form(candidate) == _get_form(slot)
            )
            filled |= dict.fromkeys(matching, choice.digest)
    return filled


def _get_form(slot: str) -> str:
    """The form beside the recommended one that the slot is of: one of them does not go with another."""
    return next((form for form in QUANTIZED_FORMS if slot.startswith(form)), "")


def _fills(choice: OutputChoice, source: tuple[tuple[str, ...], str] | None) -> bool:
    return source is not None and choice.kind in source[0] and choice.slot == source[1]
