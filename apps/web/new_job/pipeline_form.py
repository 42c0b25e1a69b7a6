"""The form of a pipeline from a template: a version, names for what comes of it, and the parameters of every step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from django.http import QueryDict
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError, Refused
from apps.core.messages import translate_error, translate_message
from apps.data.datasets.column_choices import TableColumn, build_column_choices, list_columns, offer_column
from apps.data.datasets.latest_tables import MAX_TABLES_OFFERED, format_table_label, list_latest_tables
from apps.data.datasets.models import DatasetFile
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.services import submit_pipeline
from apps.ml.pipelines.templates import TemplateInputs, build_pipeline_request, get_template
from apps.platform.accounts.models import Project
from apps.platform.jobs.kinds import KINDS, Needs
from apps.platform.jobs.scheduling.schedule_estimate import NodeLoads as Nodes
from apps.platform.jobs.scheduling.schedule_estimate import (
    ScheduleEstimate,
    estimate_schedule,
    find_blocking_reason,
    load_node_loads,
    load_past_durations,
)
from apps.platform.jobs.serializers import NeedsBody
from apps.platform.jobs.spec_validation import extract_problem, parse_model
from apps.platform.jobs.specforms.fields import FormItem, list_problem_items
from apps.platform.jobs.specforms.resource_fields import build_needs_group, read_needs
from apps.platform.jobs.specforms.schedule_preview import SchedulePreview, build_schedule_preview
from apps.platform.jobs.specforms.spec_form import SpecForm
from apps.platform.lineage.layout import Box, draw_graph
from apps.web.new_job.clean_preview import CleanPreview
from apps.web.new_job.form_preview import MemoryPreview, preview_memory, preview_table
from apps.web.new_job.layout import LAYOUTS, build_step_layout
from apps.web.new_job.sections import RARE as RARE_GROUP
from apps.web.new_job.sections import REFUSED, arrange_sections, forget_ruled_out, open_faulty_groups
from apps.web.new_job.train_modes import (
    PIPELINE,
    TRAIN,
    VERSION,
    TrainMode,
    carry_others,
    convert_to_pipeline_fields,
    list_carried,
    list_modes,
)
from apps.web.templatetags.formats import format_duration
from deepseek.clean.spec import CleanSpec

COLUMNS = "columns"  # id of the list of names that the fields of columns offer
MAX_NAMED_COLUMNS = 12  # below the version
CLEAN = "clean"
EXPORT = "export"
RENEWED = f"#{COLUMNS},#fversion-d,#f-clean-columns-f,#f-train-features-f,#f-train-categories-f,#f-train-target-f"
OF_NEEDS = re.compile(r"/steps/\d+/needs/")  # of the one step that the form asks them for
OF_VERSION = frozenset({"/clean/csv/delimiter", "/clean/csv/encoding"})  # known, and other with another version
TRAIN_LAYOUT = LAYOUTS[TRAIN]
FOLDED = frozenset({"/clean", "/clean/csv", "/quantize", "/compile", "/export"}) | {
    f"/{TRAIN}{pointer}" for pointer in TRAIN_LAYOUT.folded
}
RARE = frozenset(f"/{TRAIN}{pointer}" for pointer in TRAIN_LAYOUT.rare)
CLEANING = ("/skip_cleaning", "/clean", "cleaned")  # at the beginning of the data
LAYOUT = build_step_layout(TRAIN_LAYOUT, f"/{TRAIN}", table=VERSION, data=CLEANING)


class PipelineForm:
    """Blank, or `begin` from a version; `bind(POST)` reads, `handle(op)` checks or submits."""

    is_composite = True  # of several jobs

    def __init__(self, actor: Actor, project: Project, template: str) -> None:
        self.actor, self.project, self.key = actor, project, template
        self.template = get_template(template)
        self.spec_form = SpecForm(self.template.parameters)
        self.spec_form.datalists = {"/train/target": COLUMNS}
        self.spec_form.folded, self.spec_form.left_out, self.spec_form.rare = FOLDED, OF_VERSION, RARE
        self.values: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.status = 200
        self.carried: list[tuple[str, str]] = []  # (name, value) of fields that the form of a job or a sweep has
        self.told: CleanPreview | None = None  # by the engine, of the first rows
        self.files = {str(file.version_id): file for file in reversed(list_latest_tables(actor, project))}

    # -- in -------------------------------------------------------------------------------------------------------
    def begin(self, version: str) -> None:
        """Fill in what the version (its key, as the page of a version sends it) gives; the newest if it is none."""
        key = version if version in self.files else max(self.files, key=int, default="")
        if not key:
            return
        file = self.files[key]
        name = file.version.dataset.name
        self.values = {"version": key, "model": f"{name.removesuffix('-clean')[:44]}-model"}
        self.spec_form.values["skip_cleaning"] = file.version.script.startswith("deepseek.clean")
        self.offer_columns()

    def bind(self, data: Mapping[str, str]) -> None:
        self.spec_form.bind(data)
        if self.skips:  # the page hides how to clean then
            self.spec_form.values.pop("clean", None)
        forget_ruled_out(self.spec_form, TRAIN)
        self.carried = list_carried(data)
        self.values = {item.pointer: str(data.get(item.pointer, "")).strip() for item in self.own}
        vars(self).pop("columns", None)  # of no version yet: the fields were named before their values were known
        self.offer_columns()

    def take_over(self, data: QueryDict) -> None:
        """Fill in what was typed in the form of a job or a sweep that trains; carry what this one has no fields for.

        The other steps are as they were left here, else they keep their defaults.
        """
        fields = convert_to_pipeline_fields(data, {file.table_digest: key for key, file in self.files.items()})
        if "model" in fields:  # carried from here
            self.bind(fields)
        else:
            if fields[VERSION]:
                self.begin(fields[VERSION])
            typed = SpecForm(self.template.parameters).bind(fields)
            self.spec_form.values[TRAIN] = typed.values[TRAIN]
            forget_ruled_out(self.spec_form, TRAIN)
            self.values |= {name: value.strip() for name, value in fields.items() if name.startswith("needs/")}
        self.carried = carry_others(fields, self.items)

    def offer_columns(self) -> None:
        """The lists of columns are picked from those of the version; flags that cleaning adds can be typed by REST."""
        columns = self.columns
        if columns:
            self.spec_form.offers = {
                "/clean/columns": build_column_choices(columns, lambda column: column.is_number),
                "/train/features": build_column_choices(columns, lambda column: column.is_learnable),
                "/train/categories": build_column_choices(columns, lambda column: column.is_category),
            }

    def handle(self, op: str) -> Pipeline | None:
        """The pipeline, if `op` submitted one; otherwise None, with the form changed or its errors told."""
        if op not in ("check", "submit", "ahead", "sample"):
            self.spec_form.apply(op)
            return None
        self.errors |= read_needs(self.values, KINDS[TRAIN].needs)[1]
        if self.file is None:
            self.errors["version"] = _("Choose a version.")
            self.spec_form.is_valid()
        else:
            try:
                pipeline_request = build_pipeline_request(
                    self.key, self.ground(self.file), self.spec_form.spec(), strict=False
                )
                if op == "submit" and not self.errors:
                    return submit_pipeline(actor=self.actor, project=self.project, request=pipeline_request)[0]
            except Refused:
                raise
            except PlaneError as failure:
                self.refuse(failure)
        self.status = REFUSED if op == "submit" else 200
        if op == "sample":
            self.look_ahead()
        return None

    def look_ahead(self) -> None:
        """Ask the engine what cleaning would change in the first rows; its errors come beside their fields."""
        self.told = None if self.skips else preview_table(self.file, self.clean_spec)
        for error in self.told.errors if self.told else []:
            name, text = str(error.get("field") or ""), translate_error(error)
            if name.startswith("/"):
                self.spec_form.add_errors([{"field": f"/clean{name}", "message": text}], prefix="")
            else:
                self.errors.setdefault("version", text)

    def ground(self, file: DatasetFile) -> TemplateInputs:
        """What is named beside the parameters."""
        needs, _wrong = read_needs(self.values, KINDS[TRAIN].needs)
        return TemplateInputs(
            version=file.version,
            table=file,
            model=self.values.get("model", ""),
            cleaned=("" if self.skips else self.values.get("cleaned", "")) or None,
            needs={TRAIN: NeedsBody.model_construct(**needs.as_body())} if needs else None,  # checked with the step
        )

    def refuse(self, failure: PlaneError) -> None:
        """Errors of parameters go to their form, the others beside the fields that are ours."""
        ours = {item.pointer for item in self.own}
        rest = []
        for error in failure.errors:
            full = str(error.get("field") or "")
            name = OF_NEEDS.sub("needs/", full).lstrip("/")
            if name in ours:
                text = translate_message(extract_problem(error))
                self.errors.setdefault(name, " ".join(filter(None, (text, translate_message(error, "hint")))))
            elif error["code"] == "column_not_numeric":
                rest.append({**error, "message": translate_error(error)})  # with the way out
            else:
                rest.append(error)
        self.spec_form.add_errors(rest, prefix="/params")

    # -- out ------------------------------------------------------------------------------------------------------
    @property
    def file(self) -> DatasetFile | None:
        return self.files.get(self.values.get("version", ""))

    @property
    def skips(self) -> bool:
        return self.spec_form.spec().get("skip_cleaning") in (True, "true")

    @cached_property
    def columns(self) -> list[TableColumn]:
        """Those that fields of columns offer."""
        return list_columns(self.file.version) if self.file else []

    @property
    def own(self) -> list[FormItem]:
        """Every field but the parameters'."""
        return [*self.head, *self.needs_group.items]

    @property
    def name_limit(self) -> str:
        return _("1 to 50 lower-case letters, digits and hyphens")

    @property
    def head(self) -> list[FormItem]:
        choices = [("", _("Choose a version")), *((key, format_table_label(file)) for key, file in self.newest_first())]
        version = self.item("version", _("Version of a dataset"), control="select", choices=choices, required=True)
        version.doc, version.renews = self.said_of_columns, RENEWED
        model = self.item("model", _("Register as"), required=True, limit=self.name_limit)
        model.doc = _("Model for the new version; created if it does not exist.")
        cleaned = self.item("cleaned", _("Cleaned table as"), limit=self.name_limit)
        cleaned.doc = _("Dataset for the cleaned table; if empty, the dataset of the version with the suffix -clean.")
        return [version, model, cleaned]

    def newest_first(self) -> list[tuple[str, DatasetFile]]:
        return sorted(self.files.items(), key=lambda pair: -int(pair[0]))

    @property
    def said_of_columns(self) -> str:
        names = [column.name for column in self.columns]
        if not names:
            return _("The newest %(count)s tables of this project. Its columns are not known yet.") % {
                "count": MAX_TABLES_OFFERED
            }
        values = {"names": ", ".join(names[:MAX_NAMED_COLUMNS])}
        if len(names) > MAX_NAMED_COLUMNS:
            return _("Its columns: %(names)s and more.") % values
        return _("Its columns: %(names)s.") % values

    @property
    def needs_group(self) -> FormItem:
        return build_needs_group(self.values, self.errors, KINDS[TRAIN].needs)

    def item(self, pointer: str, label: str, **more: Any) -> FormItem:
        value, error = self.values.get(pointer, ""), self.errors.get(pointer, "")
        return FormItem(kind="field", pointer=pointer, label=label, value=value, error=error, **more)

    @property
    def items(self) -> list[FormItem]:
        """As the form of a job that trains; cleaning stands with the data, the steps after training in Advanced."""
        spec_items = self.spec_form.items
        offer_column(spec_items, f"/{TRAIN}{TRAIN_LAYOUT.target}", self.columns)
        train = next(item for item in spec_items if item.pointer == f"/{TRAIN}")
        note = next(item for item in spec_items if item.pointer == "/note")
        others = [item for item in spec_items if item not in (train, note)]
        items = arrange_sections(
            LAYOUT, [*self.head, note], [*train.items, *others], self.needs_group, rare=f"{train.pointer}{RARE_GROUP}"
        )
        return open_faulty_groups(items, was_refused=self.status == REFUSED)

    @property
    def error(self) -> str:
        """What is of no field: of the whole request, and of training as a whole."""
        return f"{self.spec_form.error} {self.spec_form.errors.get(f'/{TRAIN}', '')}".strip()

    @property
    def problems(self) -> list[FormItem]:
        return list_problem_items(self.items)

    # -- looking ahead --------------------------------------------------------------------------------------------
    @property
    def modes(self) -> list[TrainMode]:
        return list_modes(self.actor, self.project, TRAIN, current=PIPELINE)

    @property
    def estimate(self) -> str:
        """How long all steps take; empty where one of them has no past."""
        if self.takes_seconds is None:
            return ""
        return _("All steps take about %(time)s.") % {"time": format_duration(self.takes_seconds)}

    @property
    def clean_spec(self) -> CleanSpec | None:
        """How the table is cleaned, its CSV file read as the version says; None while it does not hold."""
        if self.file is None:
            return None
        clean_values = self.template.complete(self.spec_form.spec(), self.ground(self.file)).get(CLEAN, {})
        try:
            return parse_model(CleanSpec, clean_values, strict=False, prefix="")
        except Invalid:
            return None

    @property
    def table(self) -> DatasetFile | None:
        return self.file

    @property
    def training(self) -> Mapping[str, Any]:
        train_values = self.spec_form.spec().get(TRAIN)
        return train_values if isinstance(train_values, Mapping) else {}

    @cached_property
    def schedule(self) -> SchedulePreview:
        """Of the table as it is: cleaning drops no row."""
        preview = build_schedule_preview(self.training, self.file.version.rows if self.file else None)
        return replace(preview, wrong=[f"/{TRAIN}{pointer}" for pointer in preview.wrong])

    @property
    def wrong(self) -> list[FormItem]:
        """The fields that keep the schedule from being drawn."""
        return [item for item in self.problems if item.pointer in self.schedule.wrong]

    @property
    def steps(self) -> dict[str, str]:
        """Step -> kind, of those that it makes."""
        left_out = {CLEAN: self.skips, EXPORT: self.spec_form.spec().get("with_export") not in (True, "true")}
        return {step: kind for step, kind in self.template.kinds.items() if not left_out.get(step)}

    def needs_of(self, step: str) -> Needs:
        typed_needs = read_needs(self.values, KINDS[TRAIN].needs)[0] if step == TRAIN else None
        return typed_needs or KINDS[self.steps[step]].needs

    @cached_property
    def nodes(self) -> Nodes:
        return load_node_loads(self.actor)

    @cached_property
    def outlook(self) -> ScheduleEstimate:
        """Of its first step; the others wait for it."""
        step, kind = next(iter(self.steps.items()))
        size = self.file.artifact.size if self.file else None
        return estimate_schedule(self.actor, self.project, kind, self.needs_of(step), size=size, node_loads=self.nodes)

    @property
    def hindrances(self) -> list[tuple[str, str]]:
        """(step, why it could not run as the nodes are now), of later steps; not what keeps the first too."""
        later = list(self.steps.items())[1:]
        reasons = [(step, find_blocking_reason(kind, self.needs_of(step), self.nodes)) for step, kind in later]
        return [(step, why) for step, why in reasons if why and why != self.outlook.sentence]

    @cached_property
    def takes_seconds(self) -> float | None:
        """What such jobs took, added up over the steps; None where one of them has no past."""
        rest = list(self.steps.values())[1:]
        pasts = [self.outlook.past, *(load_past_durations(self.actor, self.project, kind, None) for kind in rest)]
        return sum(past.seconds for past in pasts if past) if all(pasts) else None

    @property
    def memory(self) -> MemoryPreview | None:
        """What training would need beside what it asks for."""
        if self.file is None:
            return None
        return preview_memory(TRAIN, self.file, self.training, self.needs_of(TRAIN), self.nodes)

    @property
    def graph(self) -> dict[str, Any] | None:
        """The steps as they will wait for each other; each leads to its fields."""
        drawing = draw_graph({step: self.template.waits[step] for step in self.steps})
        if drawing is None:
            return None
        nodes = [self.node_of(box) for box in drawing.boxes]
        return {"width": drawing.width, "height": drawing.height, "edges": drawing.edges, "nodes": nodes}

    def node_of(self, box: Box) -> dict[str, Any]:
        kind = self.steps[box.name]
        word = Truncator(str(KINDS[kind].label)).chars(20)
        url = f"#f-{box.name}-g" if box.name in self.template.parameters.model_fields else "#fmodel"
        url = f"#f-{TRAIN}-task" if box.name == TRAIN else url  # its fields stand in several groups
        return {
            "box": box,
            "kind": kind,
            "state": "waiting",
            "word": word,
            "outside": False,
            "url": url,
        }

    # -- as REST --------------------------------------------------------------------------------------------------
    @property
    def as_body(self) -> dict[str, Any]:
        """The same request as the body of a REST call, what is left at its default left out."""
        file, params = self.file, self.spec_form.as_json()
        if (
            self.spec_form.parsed() is None
        ):  # not filled in yet: only what was changed, and names in capitals to replace
            params = diff_values(self.spec_form.spec(), SpecForm(self.template.parameters).spec())
            placeholders = {"task": "forecast", "target": self.columns[-1].name if self.columns else "COLUMN"}
            params[TRAIN] = placeholders | {name: value for name, value in params.get(TRAIN, {}).items() if value}
        body = {
            "template": self.key,
            "dataset": file.version.dataset.name if file else "DATASET",
            "version": file.version.number if file else 1,
            "params": params,
            "model": self.values.get("model") or "MODEL",
        }
        needs, _wrong = read_needs(self.values, KINDS[TRAIN].needs)
        more = {
            "cleaned": "" if self.skips else self.values.get("cleaned"),
            "needs": needs and {TRAIN: needs.as_body()},
        }
        return body | {name: value for name, value in more.items() if value}


def diff_values(values: Mapping[str, Any], blank: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not as in `blank`, through all groups."""
    changed = {}
    for name, value in values.items():
        old = blank.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            nested = diff_values(value, old)
            if nested:
                changed[name] = nested
        elif value != old and str(value) != str(old):
            changed[name] = value
    return changed
