"""What an evaluation set may be: checked whole before a row is written, and completed into the spec of a job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound, PlaneError
from apps.core.request_values import parse_int
from apps.data.datasets.models import DatasetVersion
from apps.ml.registry.models import EvaluationSet, ModelVersion
from apps.platform.accounts.models import Project
from apps.platform.jobs.spec_validation import combine_errors, parse_model
from apps.platform.jobs.submission import build_error
from deepseek.evaluate.spec import METRICS, TIMED, EvaluateSpec, PredictionsSpec, get_task_metrics
from deepseek.messages import N_, Message

REVISION = re.compile(r"(.+)-r([1-9][0-9]{0,8})")
NAME_LIMIT = 39  # so that the name with its revision is a name still
TEXT_TASKS = ("entities", "language")
PRIMARY = {
    "classification": "accuracy",
    "regression": "rmse",
    "forecast": "rmse",
    "ranking": "map",
    "entities": "f1",
    "language": "perplexity",
}


def format_set_reference(evaluation_set: EvaluationSet) -> str:
    """How a set is named with its revision: wti-2024-r2."""
    return f"{evaluation_set.name}-r{evaluation_set.number}"


def find_set(project: Project, set_name: str) -> EvaluationSet:
    """The current revision of a set by its name, or one by `reference`; NotFound if there is none."""
    rows = EvaluationSet.objects.select_related("project", "dataset_version__dataset").filter(project=project)
    revision = REVISION.fullmatch(set_name)
    if revision:
        evaluation_set = rows.filter(name=revision[1], number=int(revision[2])).first()
    else:
        evaluation_set = rows.filter(name=set_name, superseded_at=None).first()
    if evaluation_set is None:
        raise NotFound(
            "This project has no evaluation set {named!r}.",
            named=set_name[:60],
            code="evaluation_set_unknown",
            field="set",
            hint=N_("List the evaluation sets, or make one of a dataset version."),
        )
    return evaluation_set


def complete_spec(actor: Actor, project: Project, named: str, spec: BaseModel) -> BaseModel:
    """The spec of a job that registers on a set: what decides the figures is the set's, whatever was asked for."""
    on = find_set(project, named)
    if isinstance(spec, PredictionsSpec):
        task = spec.task if on.task == "ranking" else on.task  # what is relevant may be a class or a number
        own = {"task": task, "target": on.target, "horizon": spec.horizon}
        return parse_model(PredictionsSpec, {**on.spec, **own}, strict=False, prefix="/spec")
    timed = spec.model_dump(mode="json", include=set(TIMED))
    return EvaluateSpec.model_validate({**on.spec, **timed})


def require_client_version(actor: Actor, project: Project, key: str, spec: BaseModel) -> BaseModel:
    """The spec as it is, where the key is that of a version that takes predictions; Invalid for any other."""
    get_predictable_version(project, key)
    return spec


def get_predictable_version(project: Project, key: str) -> ModelVersion:
    """A version of the project that a client registered, by its key; Invalid for any other."""
    rows = ModelVersion.objects.filter(model__project=project, deleted_at=None).exclude(source="")
    pk = parse_int(key)
    version = None if pk is None else rows.select_related("model__project").filter(pk=pk).first()
    if version is None:
        raise Invalid(
            "{key!r} is the key of no version that a client registered.",
            key=key[:40],
            code="predictions_not_taken",
            field="/register/version",
            limit="the key of such a version of this project",
            hint=N_("Send predictions to the address of the version: it fills this in."),
        )
    return version


# -- checks ---------------------------------------------------------------------------------------------------------
def parse_set_spec(
    task: str, target: str, primary: str, spec: Mapping[str, Any], version: DatasetVersion | None
) -> tuple[EvaluateSpec, str]:
    """The typed spec and the primary metric; Invalid with every error, each naming its field. Without a version no
    column is looked for."""
    parsed: EvaluateSpec | None = None
    errors: list[dict[str, Any]] = []
    try:
        parsed = parse_model(EvaluateSpec, spec, strict=True, prefix="/spec")
    except PlaneError as failure:
        errors += failure.errors
    if task not in METRICS:
        errors.append(
            build_error("bad_task", Message("{task!r} is no task.", task=task[:40]), "task", ", ".join(METRICS))
        )
    errors += iter_column_errors(task, target, parsed, version)
    if parsed is not None and task in METRICS:
        errors += iter_task_errors(task, primary, parsed)
    if errors or parsed is None:
        raise combine_errors(errors)
    return parsed, primary or PRIMARY[task]


def iter_task_errors(task: str, primary: str, spec: EvaluateSpec) -> Iterable[dict[str, Any]]:
    metric_names = get_task_metrics(task, spec)
    if primary and primary not in metric_names:
        yield build_error(
            "unknown_metric",
            Message("A {task} has no metric {primary!r}.", task=task, primary=primary[:40]),
            "primary_metric",
            ", ".join(metric_names),
        )
    if (task == "ranking") != (spec.group is not None):
        yield build_error(
            "group_for_ranking",
            Message("A ranking needs the column that names the query of a row, and nothing else has one."),
            "/spec/group",
            hint=Message("Give spec.group with the task ranking, or leave it out."),
        )


def iter_column_errors(
    task: str, target: str, spec: EvaluateSpec | None, version: DatasetVersion | None
) -> Iterable[dict[str, Any]]:
    """A version that says which columns it has must have those that are named. The target of texts is no column."""
    columns = [] if version is None or task in TEXT_TASKS else [str(column.get("name")) for column in version.columns]
    named_columns = {"target": target}
    if spec is not None:
        named_columns |= {
            f"/spec/slices/{place}/column": slice_spec.column for place, slice_spec in enumerate(spec.slices)
        }
        named_columns |= {"/spec/group": spec.group} if spec.group else {}
    if not target.strip() or len(target) > 500:
        yield build_error(
            "required", Message("Give the column that is predicted."), "target", Message("1 to 500 characters")
        )
        del named_columns["target"]
    for field, name in named_columns.items():
        if columns and name not in columns:
            yield build_error(
                "unknown_column",
                Message("{version} has no column {name!r}.", version=version, name=name[:60]),
                field,
                ", ".join(columns[:50]),
            )


def check_set_name(name: str) -> None:
    """A name that reads like a revision of another set is none."""
    if REVISION.fullmatch(name) or len(name) > NAME_LIMIT:
        raise Invalid(
            "{name!r} cannot be the name of an evaluation set.",
            name=name[:60],
            code="bad_name",
            field="name",
            limit=f"at most {NAME_LIMIT} characters, not ending in -r and a number",
            hint=N_("The plane numbers the revisions of a set itself."),
        )


def check_fits(version: ModelVersion, evaluation_set: EvaluationSet) -> None:
    """Raise Invalid for a version that does another thing than the set measures; of one that a client registered it is
    not known what it does, so the set decides."""
    if not version.task:
        return
    tasks = ("regression", "classification") if evaluation_set.task == "ranking" else (evaluation_set.task,)
    for field, value, limit in (
        ("task", version.task, " or ".join(tasks) if version.task not in tasks else version.task),
        ("target", version.target, evaluation_set.target),
    ):
        if value != limit:
            raise Invalid(
                "{found} measures the {name} {most!r}, and {version} has {found_2!r}.",
                found=evaluation_set,
                name=field,
                most=limit,
                version=version,
                found_2=value,
                code="set_mismatch",
                field="set",
                limit=f"{field} {limit}",
                hint=N_("Take a set made for this model."),
            )
