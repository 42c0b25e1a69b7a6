"""What a recall is about: an end of lineage of the project, of a dataset version perhaps one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.request_values import MAX_INT64, parse_int, validate_choice
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.provenance.row_origins import check_row
from apps.data.datasets.versions.row_keys import find_keyed_row
from apps.ml.experiments.models import Run
from apps.ml.registry.models import ModelVersion, Variant
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job
from deepseek.messages import N_

DATASET_VERSION = "dataset_version"
MAX_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Subject:
    """`row`: from 1; 0: all of it."""

    type: str
    id: str
    row: int
    label: str

    @property
    def key(self) -> tuple[str, str]:
        return self.type, self.id


def find_by_number(model: type, path: str, name: str = "") -> Callable[[Project, str], Any]:
    """Finds objects that lineage knows by a number, those too that are deleted: devices may still carry them.

    `path`: to the project; `name`: to the name, of what people call `name:number`.
    """

    def find(project: Project, id: str) -> Any:
        rows = model._base_manager.filter(**{path: project})  # type: ignore[attr-defined]
        title, colon, number = id.rpartition(":")
        if colon and name and (place := parse_int(number, 1, MAX_NUMBER)):
            return rows.filter(**{name: title}, number=place).order_by("-pk").first()
        pk = parse_int(id, 1, MAX_INT64)
        return rows.filter(pk=pk).first() if pk else None

    return find


def find_run(project: Project, id: str) -> Any:
    return Run.objects.filter(project=project, pk=id).first()


def find_artifact(project: Project, id: str) -> Any:
    return Artifact.objects.filter(holdings__project=project, pk=id).first()


FINDERS: dict[str, Callable[[Project, str], Any]] = {
    DATASET_VERSION: find_by_number(DatasetVersion, "dataset__project", "dataset__name"),
    "model_version": find_by_number(ModelVersion, "model__project", "model__name"),
    "variant": find_by_number(Variant, "version__model__project"),
    "run": find_run,
    "job": find_by_number(Job, "project"),
    "artifact": find_artifact,
}
TYPES = tuple(FINDERS)


def find_subject(actor: Actor, project: Project, type: str, id: str, row: str | int | None = None) -> Subject:
    """The subject that a request names, by the id that lineage has of it or as `name:number`.

    `row`: its number from 1, or `column=value` of a CSV table where one row has that value.
    Raises Invalid for what cannot be one, NotFound where there is none.
    """
    policy.require(actor, "recall.view", project)
    hint = N_("Name the dataset version, row or model version that is at fault.")
    validate_choice("type", type, TYPES, N_("{found!r} cannot be recalled."), required=True, hint=hint)
    text = "" if row is None else str(row)
    column, is_keyed, value = text.partition("=")
    number = 0 if is_keyed or not text else parse_int(text, 1, MAX_INT64)
    if number is None or (text and type != DATASET_VERSION):
        raise Invalid(
            "row is {text!r}.",
            text=text[:40],
            field="row",
            limit="a whole number from 1, or column=value, of a dataset_version",
            hint=N_("Leave it out to recall all of it."),
        )
    target = FINDERS[type](project, id)
    if target is None or not policy.is_cleared(actor, target):
        raise NotFound("This project has no {type} {id}.", type=type, id=id[:80], field="id")
    if isinstance(target, DatasetVersion) and is_keyed:
        number = find_keyed_row(actor, target, column.strip(), value.strip())
    if isinstance(target, DatasetVersion) and number:
        check_row(target, number)
    label = id[:12] if type == "artifact" else str(target)
    return Subject(type, str(target.pk), number, label[:180])
