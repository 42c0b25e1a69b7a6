"""How a version of a model was made, so that the same can be done with other data: the pipeline of its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.queries import find_first_table, refuse_parts
from apps.data.datasets.versions.manifest import parse_dialect
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.ml.pipelines.requests import copy_template_parameters
from apps.ml.pipelines.schemas import StepBody, list_stored_steps
from apps.ml.registry.documents import read_document
from apps.ml.registry.models import ModelVersion
from deepseek.messages import N_, Message

TRAIN, TABLE = "train", "table"
NAME_SUFFIX, FRESH_SUFFIX = "-retraining", "-fresh"
MAX_RERUNS = 50  # a pipeline that runs another again, which ran another again...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A pipeline with a place for its data, and what it learns from it."""

    base: DatasetVersion  # what it was made of
    table: DatasetFile
    body: Mapping[str, Any]  # of POST pipelines, with `base` as its data
    spec: Mapping[str, Any]  # of its training
    features: list[str]  # in the order of a list of them

    @property
    def name(self) -> str:
        """The dataset of the data that it is made of, without what an earlier retraining added to it."""
        return self.base.dataset.name.removesuffix(NAME_SUFFIX)

    @property
    def data_name(self) -> str:
        return f"{self.name[: 50 - len(NAME_SUFFIX)]}{NAME_SUFFIX}"

    @property
    def fresh_name(self) -> str:
        """Of the dataset that holds what was held back, and of the evaluation set of it."""
        return f"{self.name[: 39 - len(FRESH_SUFFIX)]}{FRESH_SUFFIX}"

    @property
    def csv(self) -> dict[str, str]:
        dialect = parse_dialect(self.table.media_type)
        return {"delimiter": dialect.delimiter, "encoding": dialect.encoding} if dialect else {}

    @property
    def context(self) -> int:
        """Rows that a forecast looks back on before the first that it can be measured on."""
        is_forecast = self.spec["task"] == "forecast"
        return int(self.spec.get("lags", 20)) + int(self.spec.get("horizon", 1)) - 1 if is_forecast else 0

    def build_body(self, data: DatasetVersion, table: DatasetFile) -> dict[str, Any]:
        """The request of the same pipeline with other data, its cleaning and its parameters as they were."""
        if "template" in self.body:
            return {**self.body, "dataset": data.dataset.name, "version": data.number}
        digest = self.table.artifact_id
        steps = [
            {**step, "inputs": {slot: replace_digest(each, digest, table.artifact_id) for slot, each in inputs.items()}}
            for step in self.body["steps"]
            for inputs in [step.get("inputs", {})]
        ]
        return {**self.body, "steps": steps}


def replace_digest(value: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {**value, "digest": new} if value.get("digest") == old else dict(value)


def find_recipe(actor: Actor, version: ModelVersion) -> Recipe:
    """The recipe of a version. Raises Invalid `no_recipe` where the plane cannot make one of its record: a client
    uploaded it, its jobs were no pipeline, or what it learned from is no table of a dataset version."""
    pipeline = find_pipeline(version)
    if pipeline is None:
        raise build_recipe_error(version, N_("no pipeline registered it"))
    steps = collect_steps(pipeline)
    training = next((step for step in steps.values() if step.kind == TRAIN), None)
    if training is None:
        cause = N_("what it learns from is no table, which answers with labels could be rows of")
        raise build_recipe_error(version, cause, field="dataset")
    table = find_base_file(version, steps, training, TABLE)
    document = read_document(version.document)
    return Recipe(
        base=table.version,
        table=table,
        body=build_request_body(pipeline, steps),
        spec=training.spec,
        features=[] if training.spec.get("task") == "forecast" else [str(name) for name in document["features"]],
    )


def find_pipeline(version: ModelVersion) -> Pipeline | None:
    """The pipeline whose job registered the version."""
    rows = PipelineStep.objects.select_related("pipeline__project").filter(job=version.job_id)
    step = rows.first() if version.job_id is not None else None
    return step.pipeline if step is not None else None


def collect_steps(pipeline: Pipeline) -> dict[str, StepBody]:
    """Every step with the spec that it had last: a pipeline that runs a part of another again has no more than that
    part, whose inputs are those of the whole."""
    chain = [pipeline]
    while chain[-1].rerun_of is not None and len(chain) < MAX_RERUNS:
        chain.append(chain[-1].rerun_of)
    steps = {step.name: step for step in list_stored_steps(chain[-1])}
    for rerun in reversed(chain[:-1]):
        for step in list_stored_steps(rerun):
            former = steps.get(step.name, step)
            steps[step.name] = former.model_copy(update={"spec": step.spec})
    return steps


def find_base_file(version: ModelVersion, steps: Mapping[str, StepBody], training: StepBody, slot: str) -> DatasetFile:
    """What goes into this input of the training, or of the step before it, as a file of a dataset version."""
    source = training.inputs.get(slot)
    for _ in range(len(steps)):
        if source is None or source.digest or source.step is None or source.step not in steps:
            break
        source = steps[source.step].inputs.get(slot)
    digest = source.digest if source is not None else None
    rows = DatasetFile.objects.select_related("version__dataset__project", "artifact")
    of_digest = rows.filter(artifact=digest, version__dataset__project=version.project_id, version__deleted_at=None)
    table = of_digest.order_by("-version_id").first() if digest else None
    if table is None:
        raise build_recipe_error(version, N_("what it learned from is in no dataset version"))
    return table


def build_request_body(pipeline: Pipeline, steps: Mapping[str, StepBody]) -> dict[str, Any]:
    """A template's request where it is one, so that the new pipeline is one of the template too; else its steps."""
    document = json.loads(pipeline.document)
    name = document["name"]
    if document.get("template") and document.get("parameters"):
        return {"template": document["template"], **copy_template_parameters(document["parameters"]), "name": name}
    return {"name": name, "steps": [step.document() for step in steps.values()]}


def find_table(version: DatasetVersion) -> DatasetFile:
    refuse_parts(version)
    table = find_first_table(version)
    if table is None:
        raise Invalid("{version} has no table.", version=version, code="no_table", field="version")
    return table


def build_recipe_error(version: ModelVersion, cause: str, *, field: str = "model") -> Invalid:
    return Invalid(
        "{version} cannot be trained again: {cause}.",
        version=version,
        cause=Message(cause),
        code="no_recipe",
        field=field,
        limit="a version that a pipeline made of a table"
        if field == "model"
        else "a dataset whose newest version is the fresh data",
        hint=N_("Train it by a pipeline once.") if field == "model" else N_("Name a dataset in the plan."),
    )
