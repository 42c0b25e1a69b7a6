"""The forms of one training: the whole pipeline, a single job, a sweep; what was typed in one goes over to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.http import QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.platform.accounts.models import Project
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.specforms.fields import FormItem, flatten_items
from apps.platform.jobs.specforms.spec_form import NEW, PASTED

PIPELINE, ONE_JOB, SWEEP = "pipeline", "job", "sweep"
TAKE_OVER = "take-over"  # the op of the button that leads from one form to another
TRAIN = "train"  # the kind that has a pipeline, and the group of its fields there
VERSION, TABLE = "version", "inputs/table"  # the field of the table: there a version, here its digest
CARRIED = "carried:"  # before the name of a field that only another of the forms has
NOT_CARRIED = frozenset({"csrfmiddlewaretoken", "op", "read_as", PASTED, VERSION, TABLE})


@dataclass(frozen=True, slots=True)
class TrainMode:
    """A form that a training can be begun with."""

    label: str
    url: str
    is_current: bool


def list_modes(actor: Actor, project: Project, kind: str, *, current: str) -> list[TrainMode]:
    """The forms for this kind that the actor may submit; none where there is but one."""
    modes = []
    if kind == TRAIN and is_allowed(actor, "pipeline.submit", project):
        modes.append((PIPELINE, _("Train and register"), reverse("pipelines:new", args=[project.slug])))
    single = _("Train only") if kind == TRAIN else _("Single job")
    modes.append((ONE_JOB, single, reverse("datasets:new_job_of", args=[project.slug, kind])))
    if KINDS[kind].tunable and is_allowed(actor, "sweep.submit", project):
        modes.append((SWEEP, _("Sweep"), reverse("sweeps:new_of", args=[project.slug, kind])))
    return [TrainMode(label, url, key == current) for key, label, url in modes] if len(modes) > 1 else []


def convert_to_job_fields(data: QueryDict, digest_by_version: Mapping[str, str]) -> QueryDict:
    """The fields as the form of a job names them, of those of any of the forms."""
    if VERSION not in data:
        return restore_carried(data)
    converted = rename_fields(data, {name: name.removeprefix(f"/{TRAIN}") for name in data})
    converted[TABLE] = digest_by_version.get(data[VERSION], "")
    return converted


def convert_to_pipeline_fields(data: QueryDict, version_by_digest: Mapping[str, str]) -> QueryDict:
    """The fields as the form of a pipeline names them, of those of a job or a sweep."""
    if VERSION in data:
        return restore_carried(data)
    of_spec = [name for name in data if name.startswith("/") and not name.startswith("/sweep/")]
    converted = rename_fields(data, {name: f"/{TRAIN}{name}" for name in of_spec})
    converted[VERSION] = version_by_digest.get(data.get(TABLE, ""), "")
    return converted


def restore_carried(data: QueryDict) -> QueryDict:
    """The fields, those that the form only carried under their own names."""
    return rename_fields(data, {})


def rename_fields(data: QueryDict, names: Mapping[str, str]) -> QueryDict:
    """The values of the fields under new names: {name in `data`: new name}; what was carried under its own name."""
    renamed = QueryDict(mutable=True)
    for name in data:
        new_name = name.removeprefix(CARRIED) if name.startswith(CARRIED) else names.get(name, name)
        renamed.setlist(new_name, data.getlist(name))
    return renamed


def list_carried(data: Mapping[str, str]) -> list[tuple[str, str]]:
    """(name, value) of what a form carries, as it sent it."""
    values = data.getlist if isinstance(data, QueryDict) else lambda name: [data[name]]
    return [(name, value) for name in data if name.startswith(CARRIED) for value in values(name)]


def carry_others(fields: QueryDict, items: Iterable[FormItem]) -> list[tuple[str, str]]:
    """(name, value) of the fields that a form with these items lacks: it carries them to the form that has them."""
    own = {item.pointer for item in flatten_items(items)} | NOT_CARRIED
    others = [name for name in fields if name not in own and not name.startswith(NEW)]
    return [(f"{CARRIED}{name}", value) for name in others for value in fields.getlist(name)]
