"""Record the inputs and outputs that a client reports for a run: datasets and logged models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.policy import require
from apps.ml.experiments.keys import CONTEXT_TAG, TAG_LIMIT, check_length
from apps.ml.experiments.models import LoggedModel, RunDataset, RunModel, RunTag
from apps.ml.experiments.services.metrics import check_open
from apps.ml.experiments.services.runs import open_run, record_run_amendment, write_tags
from apps.ml.experiments.states import ENDED
from apps.platform.accounts.models import Project

NAME_LIMIT, DIGEST_LIMIT, TYPE_LIMIT = 500, 36, 36
SOURCE_LIMIT, SCHEMA_LIMIT, PROFILE_LIMIT = 65_535, 1_048_575, 16_777_215  # characters, as MLflow
TAG_KEY_LIMIT, TAG_VALUE_LIMIT = 255, 500
HISTORY = "mlflow.log-model.history"
MODEL_FIELDS = ("artifact_path", "flavors", "utc_time_created", "run_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInput:
    """A dataset as a client describes it; `tags` as (key, value)."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    def check(self) -> None:
        for name, limit in (
            ("name", NAME_LIMIT),
            ("digest", DIGEST_LIMIT),
            ("source_type", TYPE_LIMIT),
            ("source", SOURCE_LIMIT),
            ("schema", SCHEMA_LIMIT),
            ("profile", PROFILE_LIMIT),
        ):
            check_length(getattr(self, name), name, limit)
        for key, value in self.tags:
            check_length(key, "key", TAG_KEY_LIMIT)
            check_length(value, "value", TAG_VALUE_LIMIT)


def log_inputs(
    *, actor: Actor, project: Project, run_id: str, datasets: Sequence[DatasetInput] = (), models: Sequence[str] = ()
) -> None:
    """Note what a run read; what is noted already stays as it is. `models`: ids of logged models."""
    require(actor, "run.track", project)
    for dataset in datasets:
        dataset.check()
    with transaction.atomic():
        run = open_run(project.pk, run_id)
        check_open(run, run_id, actor=actor)
        RunDataset.objects.bulk_create(
            (build_dataset_row(run_id, dataset) for dataset in datasets), ignore_conflicts=True
        )
        link_models(run_id, project.pk, [(model_id, 0) for model_id in models], RunModel.Direction.INPUT)
        if run.state in ENDED and (datasets or models):
            named_datasets = {f"{dataset.name} {dataset.digest}": dataset.source for dataset in datasets}
            record_run_amendment(actor, run, datasets=named_datasets, models=dict.fromkeys(models, "input"))


def log_outputs(*, actor: Actor, project: Project, run_id: str, models: Sequence[tuple[str, int]]) -> None:
    """Note which logged models a run made: (id, step)."""
    require(actor, "run.track", project)
    with transaction.atomic():
        run = open_run(project.pk, run_id)
        check_open(run, run_id, actor=actor)
        link_models(run_id, project.pk, models, RunModel.Direction.OUTPUT)
        if run.state in ENDED and models:
            record_run_amendment(actor, run, models=dict(models))


def log_model_info(*, actor: Actor, project: Project, run_id: str, text: str) -> None:
    """What old clients say of a model that they put among a run's files: kept as a list in a tag, as MLflow does."""
    require(actor, "run.track", project)
    info = parse_model_info(text)
    with transaction.atomic():
        run = open_run(project.pk, run_id)
        check_open(run, run_id, actor=actor)
        stored = RunTag.objects.filter(run_id=run_id, key=HISTORY).values_list("value", flat=True).first()
        history = json.dumps([*(json.loads(stored) if stored else []), info])
        if len(history) > TAG_LIMIT:  # cut, it would be no JSON any more
            raise Invalid("The run has too many models of the old kind.", field="model_json", limit=TAG_LIMIT)
        write_tags(run_id, {HISTORY: history})
        if run.state in ENDED:
            record_run_amendment(actor, run, tags={HISTORY: history})


def parse_model_info(text: str) -> dict[str, Any]:
    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid(
            "Malformed model info. \n {text} \n is not a valid JSON.", text=text[:200], field="model_json"
        ) from None
    lacking = sorted(set(MODEL_FIELDS) - set(info)) if isinstance(info, dict) else list(MODEL_FIELDS)
    if lacking:
        missing_fields = ", ".join(map(repr, lacking))
        raise Invalid("Model json is missing mandatory fields: {{{named}}}", named=missing_fields, field="model_json")
    return {name: info[name] for name in info}


def link_models(run_id: str, project_id: int, models: Sequence[tuple[str, int]], direction: str) -> None:
    """Models that are not there are refused; those that are linked already stay at their step."""
    model_ids = {model_id for model_id, _step in models}
    if not model_ids:
        return
    existing = set(LoggedModel.objects.filter(pk__in=model_ids, project_id=project_id).values_list("pk", flat=True))
    if lacking := model_ids - existing:
        raise Invalid(
            "There is no logged model {lacking}.", lacking=min(lacking)[:40], code="model_unknown", field="models"
        )
    RunModel.objects.bulk_create(
        (RunModel(run_id=run_id, model_id=model_id, direction=direction, step=step) for model_id, step in models),
        ignore_conflicts=True,
    )


def build_dataset_row(run_id: str, dataset: DatasetInput) -> RunDataset:
    return RunDataset(
        run_id=run_id,
        name=dataset.name,
        digest=dataset.digest,
        source_type=dataset.source_type,
        source=dataset.source,
        schema=dataset.schema,
        profile=dataset.profile,
        context=dict(dataset.tags).get(CONTEXT_TAG, "")[:250],
        tags=[{"key": key, "value": value} for key, value in dataset.tags],
    )
