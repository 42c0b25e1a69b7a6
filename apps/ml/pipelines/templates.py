"""Pipelines that are ready made: from a version of a dataset and a few parameters to steps. Each is one entry here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.versions.manifest import parse_dialect
from apps.ml.pipelines.schemas import PipelineRequest, StepBody
from apps.platform.accounts.models import SLUG
from apps.platform.jobs.serializers import NeedsBody
from apps.platform.jobs.spec_validation import combine_errors, parse_model
from apps.platform.jobs.submission import build_error
from apps.platform.jobs.table_columns import check_target
from deepseek.clean.spec import CleanSpec
from deepseek.compile.spec import CompileSpec
from deepseek.export.spec import ExportSpec
from deepseek.messages import Message
from deepseek.quantize.spec import QuantizeSpec
from deepseek.spec_errors import build_spec_error
from deepseek.tables.csv_dialect import CsvDialect
from deepseek.train.spec import TrainSpec

MAX_NAMED_COLUMNS = 30  # of a table, in an error


class ChainParameters(BaseModel):
    """Clean a table, train on it, quantize and compile the model, and register its three forms as one version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    skip_cleaning: bool = Field(
        False,
        title=gettext_noop("Skip cleaning"),
        description=gettext_noop("Train on the table without cleaning, for a table that is clean already."),
    )
    clean: CleanSpec = Field(
        default=CleanSpec(), title=gettext_noop("Clean"), description=gettext_noop("What happens to the table first.")
    )
    train: TrainSpec = Field(title=gettext_noop("Train"), description=gettext_noop("What the model learns, and how."))
    quantize: QuantizeSpec = Field(
        default=QuantizeSpec(),
        title=gettext_noop("Quantize"),
        description=gettext_noop("How the 8-bit form is quantised and evaluated."),
    )
    compile: CompileSpec = Field(
        default=CompileSpec(),
        title=gettext_noop("Compile"),
        description=gettext_noop("How the compiled form is built and evaluated."),
    )
    with_export: bool = Field(
        False,
        title=gettext_noop("Export too"),
        description=gettext_noop("Write the model for other programs too, and register the TorchScript form of it."),
    )
    export: ExportSpec = Field(
        default=ExportSpec(),
        title=gettext_noop("Export"),
        description=gettext_noop("Which forms are written for other programs, where they are."),
    )
    note: str = Field(
        "",
        max_length=500,
        title=gettext_noop("Note"),
        description=gettext_noop("What a reader of the model version should know."),
    )

    @field_validator("clean")
    @classmethod
    def _clean_or_skip(cls, clean: CleanSpec, info: ValidationInfo) -> CleanSpec:
        if info.data.get("skip_cleaning"):
            raise build_spec_error(
                "cleaning_skipped", "Cleaning is skipped: leave this out, or set skip_cleaning to false."
            )
        return clean


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateInputs:
    """What a template builds on: a table of a version, and the names of what comes of it."""

    version: DatasetVersion
    table: DatasetFile
    model: str
    cleaned: str | None = None  # the dataset that gets the cleaned table; None: one named after the dataset
    needs: Mapping[str, NeedsBody] | None = None  # step -> instead of what its kind asks of a node

    @property
    def dataset(self) -> str:
        return self.version.dataset.name

    @property
    def cleaned_name(self) -> str:
        if self.cleaned is not None:
            return self.cleaned
        return self.dataset if self.dataset.endswith("-clean") else f"{self.dataset[:44]}-clean"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineTemplate:
    label: str | Promise
    doc: str | Promise
    parameters: type[BaseModel]
    kinds: Mapping[str, str]  # step -> kind, of all that it may make
    waits: Mapping[str, Sequence[str]]  # step -> those that it waits for
    complete: Callable[[Mapping[str, Any], TemplateInputs], Mapping[str, Any]]  # with what follows from the version
    faults: Callable[
        [Mapping[str, Any], TemplateInputs], list[dict[str, Any]]
    ]  # of parameters as given, against the version
    build: Callable[[Any, TemplateInputs], list[dict[str, Any]]]  # the steps, as a body of POST pipelines has them


def get_template(name: str) -> PipelineTemplate:
    """The entry of TEMPLATES; Invalid naming those there are."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    near = difflib.get_close_matches(name, TEMPLATES, n=1)
    raise Invalid(
        "There is no pipeline template {name!r}.",
        name=name[:60],
        code="unknown_template",
        field="/template",
        limit=", ".join(TEMPLATES),
        hint=Message("Did you mean {near}?", near=near[0])
        if near
        else Message("Take one of those listed, or give steps."),
    )


def build_pipeline_request(
    name: str,
    ground: TemplateInputs,
    parameters: Mapping[str, Any],
    *,
    title: str = "",
    idempotency_key: str | None = None,
    strict: bool = True,
) -> PipelineRequest:
    """The pipeline that a template makes; Invalid with every error, each by its place in the request.

    `strict`: as in parse_spec, False for values that a form gives as text.
    """
    template = get_template(name)
    completed = template.complete(parameters, ground)
    errors = find_model_name_faults(ground) + find_needs_faults(template, ground) + template.faults(completed, ground)
    values = None
    try:
        values = parse_model(template.parameters, completed, strict=strict, prefix="/params")
    except Invalid as failure:
        errors = failure.errors + errors
    if errors or values is None:
        raise combine_errors(errors)
    needs = ground.needs or {}
    steps = [StepBody.model_validate(step) for step in template.build(values, ground)]
    return PipelineRequest(
        steps=[step.model_copy(update={"needs": needs.get(step.name)}) for step in steps],
        name=title or ground.model,
        template=name,
        parameters={
            "dataset": ground.dataset,
            "version": ground.version.number,
            "model": ground.model,
            "cleaned": ground.cleaned,
            "params": values.model_dump(mode="json"),
        },
        idempotency_key=idempotency_key,
    )


def find_model_name_faults(ground: TemplateInputs) -> list[dict[str, Any]]:
    """Now, not after hours of work: every name that a job registers under has this form."""
    return [
        build_error(
            "bad_name",
            Message("{where}: {value!r} is no name.", where=where, value=value[:60]),
            where,
            50,
            Message("Lower-case letters, digits and hyphens; up to 50."),
        )
        for where, value in (("/model", ground.model), ("/cleaned", ground.cleaned_name))
        if not re.search(SLUG.regex, value) or len(value) > 50
    ]


def find_needs_faults(template: PipelineTemplate, ground: TemplateInputs) -> list[dict[str, Any]]:
    return [
        build_error(
            code="step_unknown",
            message=Message("This template has no step {step!r}.", step=step[:60]),
            where=f"/needs/{step[:60]}",
            limit=", ".join(template.kinds),
        )
        for step in ground.needs or {}
        if step not in template.kinds
    ]


# -- clean-train-quantize-compile-register --------------------------------------------------------------------------
def complete_chain(parameters: Mapping[str, Any], ground: TemplateInputs) -> Mapping[str, Any]:
    """How the version's CSV file is read, where the parameters are silent."""
    dialect, clean = parse_dialect(ground.table.media_type) or CsvDialect(), parameters.get("clean", {})
    if dialect == CsvDialect() or is_cleaning_skipped(parameters) or not isinstance(clean, Mapping):
        return parameters
    csv_values = clean.get("csv", {})
    read = {**asdict(dialect), **csv_values} if isinstance(csv_values, Mapping) else csv_values
    return {**parameters, "clean": {**clean, "csv": read}}


def is_cleaning_skipped(parameters: Mapping[str, Any]) -> bool:
    return parameters.get("skip_cleaning") in (True, "true")


def find_chain_faults(parameters: Mapping[str, Any], ground: TemplateInputs) -> list[dict[str, Any]]:
    """What does not go with the version, of parameters that may be wrong in themselves: that is told elsewhere."""
    errors = []
    if is_cleaning_skipped(parameters) and ground.cleaned is not None:
        message = Message("Cleaning is skipped: no cleaned table comes of it.")
        errors.append(build_error("invalid", message, "/cleaned", hint=Message("Leave it out.")))
    if is_cleaning_skipped(parameters) and parse_dialect(ground.table.media_type) not in (None, CsvDialect()):
        message = Message(
            "Training reads a CSV file in UTF-8 with commas; {ground_version} is another.",
            ground_version=ground.version,
        )
        errors.append(
            build_error("invalid", message, "/params/skip_cleaning", hint=Message("Let it be cleaned first."))
        )
    columns = {str(column.get("name")): str(column.get("dtype") or "") for column in ground.version.columns}
    return errors + find_column_faults(parameters, list(columns)) + find_target_faults(parameters, columns)


def find_target_faults(parameters: Mapping[str, Any], columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """A target of text where numbers are predicted; a plan of steps may convert it, and is not judged."""
    train, clean = parameters.get("train"), parameters.get("clean")
    has_plan = isinstance(clean, Mapping) and clean.get("steps") and not is_cleaning_skipped(parameters)
    if not isinstance(train, Mapping) or has_plan:
        return []
    try:
        spec = TrainSpec.model_validate({name: train.get(name) for name in ("task", "target")})
    except ValidationError:
        return []  # reported with the other values
    return [{**error, "field": "/params/train/target"} for error in check_target(spec, columns)]


def find_column_faults(parameters: Mapping[str, Any], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Columns that the version does not have; nothing where its columns are not known yet."""
    if not columns:
        return []
    flag_columns = (
        [] if is_cleaning_skipped(parameters) else [f"{name}__outlier" for name in columns]
    )  # that flagging adds
    references = [(where, name, columns) for where, name in list_names(parameters, "train", "target")]
    references += [
        (where, name, [*columns, *flag_columns])
        for field in ("features", "categories")
        for where, name in list_names(parameters, "train", field)
    ]
    if not is_cleaning_skipped(parameters):
        references += [(where, name, columns) for where, name in list_names(parameters, "clean", "columns")]
    return [
        build_unknown_column_error(name, where, columns)
        for where, name, known_columns in references
        if name not in known_columns
    ]


def list_names(parameters: Mapping[str, Any], group: str, name: str) -> list[tuple[str, str]]:
    """(pointer, text) of the texts in this field, be it one or a list."""
    inside = parameters.get(group)
    value = inside.get(name) if isinstance(inside, Mapping) else None
    where = f"/params/{group}/{name}"
    if isinstance(value, list):
        return [(f"{where}/{place}", text) for place, text in enumerate(value) if text and isinstance(text, str)]
    return [(where, value)] if value and isinstance(value, str) else []


def build_unknown_column_error(name: str, where: str, columns: Sequence[str]) -> dict[str, Any]:
    near = difflib.get_close_matches(name, columns, n=1)
    return build_error(
        code="unknown_column",
        message=Message("{where}: the version has no column {name!r}.", where=where, name=name[:60]),
        where=where,
        limit=", ".join(columns[:MAX_NAMED_COLUMNS]),
        hint=Message("Did you mean {near}?", near=near[0]) if near else Message("Name one of its columns."),
    )


def build_chain_steps(values: ChainParameters, ground: TemplateInputs) -> list[dict[str, Any]]:
    """clean -> train -> quantize, compile and export -> register, which takes all forms of the model."""
    table = {"table": {"digest": ground.table.table_digest}}
    steps = []
    if not values.skip_cleaning:
        steps.append(build_step("clean", values.clean, table, register={"dataset": ground.cleaned_name}))
        table = from_step("clean", table="table")
    trained = from_step("train", model="model", manifest="manifest", heldout="heldout")
    forms = {
        **from_step("train", fp32="model", fp32_manifest="manifest", fp32_figures="figures"),
        **from_step("quantize", int8="model", int8_manifest="manifest", int8_figures="figures"),
        **from_step("compile", compiled="model", compiled_manifest="manifest", compiled_figures="figures"),
    }
    exports = []
    if values.with_export:
        exports.append(build_step("export", values.export, trained))
        if not values.export.forms or "torchscript" in values.export.forms:
            forms |= from_step("export", exported="model", exported_manifest="manifest", exported_figures="figures")
    return [
        *steps,
        build_step("train", values.train, table),
        build_step("quantize", values.quantize, trained),
        build_step("compile", values.compile, trained),
        *exports,
        {"name": "register", "kind": "register", "spec": {"note": values.note}, "inputs": forms}
        | {"register": {"model": ground.model}},
    ]


def build_step(kind: str, spec: BaseModel, inputs: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": kind, "kind": kind, "spec": spec.model_dump(mode="json"), "inputs": inputs, **more}


def from_step(name: str, **slots: str) -> dict[str, dict[str, str]]:
    """Inputs from the outputs of a step: {slot here: slot there}."""
    return {input_slot: {"step": name, "slot": output_slot} for input_slot, output_slot in slots.items()}


TEMPLATES: dict[str, PipelineTemplate] = {
    "clean-train-quantize-compile-register": PipelineTemplate(
        label=_("Train a model"),
        doc=_(
            "Cleans the table, trains on it, makes an 8-bit and a compiled form, measures all three, and registers "
            "them as one version of the model."
        ),
        parameters=ChainParameters,
        kinds={name: name for name in ("clean", "train", "quantize", "compile", "export", "register")},
        waits={
            "clean": (),
            "train": ("clean",),
            "quantize": ("train",),
            "compile": ("train",),
            "export": ("train",),
            "register": ("train", "quantize", "compile", "export"),
        },
        complete=complete_chain,
        faults=find_chain_faults,
        build=build_chain_steps,
    ),
}
