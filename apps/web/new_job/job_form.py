"""Form of a new job: the fields of its spec, and those common to all jobs. Its inputs are dataset versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError, Refused
from apps.core.messages import translate_error
from apps.core.request_values import MAX_INT64, parse_int
from apps.data.datasets.column_choices import TableColumn, build_column_choices, list_columns, offer_column
from apps.data.datasets.latest_tables import (
    MAX_TABLES_OFFERED,
    find_table,
    format_file_label,
    format_table_label,
    list_latest_files,
    list_latest_tables,
)
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.versions import registration
from apps.data.datasets.versions.image_data import format_image_reference, list_image_versions
from apps.data.datasets.versions.manifest import parse_dialect
from apps.data.datasets.versions.table_parts import find_part_versions, get_table_slot
from apps.ml.registry.batch_prediction import list_table_models
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import Project
from apps.platform.jobs import queries
from apps.platform.jobs.input_sources import SOURCES, build_slot_choices, find_companions, list_output_choices
from apps.platform.jobs.kinds import KINDS, JobKind, Needs
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling.schedule_estimate import (
    NodeLoads,
    ScheduleEstimate,
    estimate_schedule,
    load_node_loads,
)
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.specforms.fields import FormItem, list_problem_items
from apps.platform.jobs.specforms.resource_fields import build_needs_group, build_needs_values, read_needs
from apps.platform.jobs.specforms.schedule_preview import SchedulePreview, build_schedule_preview, is_scheduled
from apps.platform.jobs.specforms.spec_form import SpecForm
from apps.platform.jobs.submission import InputSpec, Submission, takes_files
from apps.platform.jobs.submission_validation import resolve_needs
from apps.platform.jobs.table_columns import check_target
from apps.web.new_job.clean_preview import CleanPreview
from apps.web.new_job.code_archives import list_archives
from apps.web.new_job.form_preview import MemoryPreview, find_facts, preview_memory, preview_table
from apps.web.new_job.layout import LAYOUTS, REGISTRATION_FIELDS, FormLayout
from apps.web.new_job.plan_columns import build_step_choices
from apps.web.new_job.sections import (
    MODE,
    REFUSED,
    SIMPLE,
    STEPS,
    arrange_sections,
    build_mode_item,
    forget_ruled_out,
    keep_mode,
    open_faulty_groups,
)
from apps.web.new_job.train_modes import (
    ONE_JOB,
    TrainMode,
    carry_others,
    convert_to_job_fields,
    list_carried,
    list_modes,
)
from deepseek.clean.spec import CleanSpec
from deepseek.script.spec import CODE
from deepseek.tables.csv_dialect import CsvDialect
from deepseek.train.spec import TrainSpec

MODELS_LIST_ID = "model-versions"  # the same for a version of a model
IMAGES_LIST_ID = "image-versions"  # id of the list that a text field for a version of images offers
COLUMNS_LIST_ID = "columns"  # id of the list of names that text fields of columns offer
REGISTER_SUFFIXES = {"predict": "-predicted"}  # of the dataset, after the name of that of the table
COLUMN_FITS: Mapping[str, Callable[[TableColumn], bool]] = {
    "clean": lambda column: column.is_number,
    "predict": lambda column: True,
}
"""By kind: the columns that can be picked, where they are not those that a model can learn from."""
TRAINED = "fp32"  # the slot of a register job that takes the form that was trained
READ_AS = "read_as"  # the table whose dialect the spec holds


class JobForm:
    """The spec's form with, around it, what every job has: name, inputs, what it registers, priority, time limit."""

    def __init__(self, actor: Actor, project: Project, key: str) -> None:
        self.actor, self.project, self.key = actor, project, key
        self.kind: JobKind = KINDS[key]
        self.layout = LAYOUTS.get(key, FormLayout())
        self.spec_form = self.build_spec_form()
        self.values: dict[str, str] = {"priority": "0"}
        self.errors: dict[str, str] = {}
        self.status = 200
        self.upload_error = ""
        self.carried: list[tuple[str, str]] = []  # (name, value) of fields that another form of this kind has
        self.told: CleanPreview | None = None  # by the engine, of the first rows
        self.files = self.list_files() if self.table_slot else []
        self.made = list_output_choices(actor, project, key)

    def list_files(self) -> list[DatasetFile]:
        """What the slots of data may take: tables, or the files that the layout names."""
        if self.layout.media_types:
            return list_latest_files(self.actor, self.project, self.layout.media_types)
        return list_latest_tables(self.actor, self.project)

    def build_spec_form(self, initial: Mapping[str, Any] | None = None) -> SpecForm:
        form = SpecForm(self.key, initial)
        form.folded, form.rare = self.layout.folded, self.layout.rare
        form.datalists = dict.fromkeys(self.layout.names, COLUMNS_LIST_ID)
        if self.layout.images:
            form.datalists[self.layout.images] = IMAGES_LIST_ID
        if self.layout.models:
            form.datalists[self.layout.models] = MODELS_LIST_ID
        return form

    # -- in -------------------------------------------------------------------------------------------------------
    def fill_from_query(self, query: Mapping[str, str]) -> None:
        """Fill in what a version or another job gives."""
        if query.get("code"):
            self.values[f"inputs/{CODE}"] = query["code"]
        if self.layout.models and query.get("model"):
            self.spec_form.values |= {self.layout.models.strip("/"): query["model"]}
        if (job := parse_int(query.get("from"))) is not None:
            self.fill_from_job(job)
        elif (version := parse_int(query.get("version"))) is not None:
            self.fill_from_version(version)
        self.offer_columns()

    def fill_from_job(self, pk: int) -> None:
        """As that job was; what its spec says is checked anew, for it may be of an older make of the kind. Of a job of
        another kind, what it took and made."""
        job = queries.get_job(self.actor, self.project, pk)
        slots = {i.slot: str(i.artifact_id) for i in job.inputs.all() if i.artifact_id}
        tables = {slot: version.digest for slot, version in find_part_versions(self.project.pk, slots).items()}
        single = {slot: digest for slot, digest in slots.items() if get_table_slot(slot) not in tables}
        self.values |= {f"inputs/{slot}": digest for slot, digest in (single | tables).items()}
        if job.kind == self.key:
            self.fill_from_same_kind(job)
        else:
            self.fill_from_outputs(job)
        self.values[READ_AS] = self.digest

    def fill_from_same_kind(self, job: Job) -> None:
        self.spec_form = self.build_spec_form(json.loads(job.spec))
        self.spec_form.is_valid()
        self.values |= {"name": job.name, "priority": str(job.priority)}
        if job.time_limit_seconds != self.kind.time_limit_seconds:
            self.values["time_limit_seconds"] = str(job.time_limit_seconds)
        self.values |= build_needs_values(job, self.kind.needs)
        self.values |= {f"register/{name}": str(value) for name, value in job.register.items()}

    def fill_from_outputs(self, job: Job) -> None:
        """What a job of another kind has made, and the trained form that it was made from."""
        sources = SOURCES.get(self.key, {})
        created = {row.slot: row.artifact_id or "" for row in job.outputs.all()}
        filled = {
            slot: created[name] for slot, (kinds, name) in sources.items() if job.kind in kinds and name in created
        }
        if TRAINED in sources and job.kind not in sources[TRAINED][0]:
            filled[TRAINED] = self.values.get("inputs/model", "")
        self.values |= {f"inputs/{slot}": digest for slot, digest in filled.items()}
        self.fill_empty_inputs()

    def fill_from_version(self, pk: int) -> None:
        """The version's table in the first slot, its dialect in the spec, its dataset's name with -clean."""
        file = next((file for file in self.files if file.version_id == pk), None)
        if file is None or not self.table_slot:
            return
        self.values[f"inputs/{self.table_slot}"] = file.table_digest
        name = file.version.dataset.name
        self.values["name"] = _("Clean %(version)s") % {"version": str(file.version)} if self.key == "clean" else ""
        if "dataset" in self.kind.registers and "table" in self.kind.outputs:
            suffix = REGISTER_SUFFIXES.get(self.key, "-clean")
            self.values["register/dataset"] = name if name.endswith(suffix) else f"{name[: 50 - len(suffix)]}{suffix}"
        self.read_as(file)

    def read_as(self, file: DatasetFile | None) -> None:
        """Let the spec read a CSV file as the version says: what it said before was of another table."""
        if "csv" not in self.kind.spec.model_fields or file is None:
            return
        self.values[READ_AS] = file.table_digest
        dialect = parse_dialect(file.media_type)
        if dialect is not None:
            values = self.spec_form.spec()
            read = {"delimiter": dialect.delimiter, "encoding": dialect.encoding}
            if dialect != CsvDialect() or values.get("csv"):
                self.spec_form.values = {**values, "csv": {**(values.get("csv") or {}), **read}}

    def bind(self, data: Mapping[str, str]) -> None:
        self.spec_form.bind(data)
        if self.layout.simple and data.get(MODE):
            keep_mode(self.spec_form, self.layout, data[MODE])
        forget_ruled_out(self.spec_form)
        self.carried = list_carried(data)
        self.values = {item.pointer: str(data.get(item.pointer, "")).strip() for item in self.own}
        self.values[READ_AS] = str(data.get(READ_AS, self.digest))
        self.fill_empty_inputs()
        if self.values[READ_AS] != self.digest:
            self.read_as(self.table)
        self.offer_columns()

    def take_over(self, data: QueryDict) -> None:
        """Fill in what was typed in another form of the same kind, and carry what this one has no fields for; its other
        fields keep their defaults.
        """
        priority = self.values["priority"]
        fields = convert_to_job_fields(data, {str(file.version_id): file.table_digest for file in self.files})
        JobForm.bind(self, fields)
        self.values["priority"] = self.values["priority"] or priority
        self.carried = carry_others(fields, self.items)

    def fill_empty_inputs(self) -> None:
        """Fill slots that are empty, or hold what went with another model, with what goes with the chosen one."""
        for slot in self.slots:
            digest = self.values.get(f"inputs/{slot}", "")
            for other_slot, companion in (find_companions(self.key, slot, digest, self.made) if digest else {}).items():
                if not self.values.get(f"inputs/{other_slot}"):
                    self.values[f"inputs/{other_slot}"] = companion

    def handle(self, op: str) -> Any:
        """The job, if `op` queued one; otherwise None, with the form changed, its errors told, or a look ahead made."""
        if op == "submit":
            job = self.submit()
            self.status = 200 if job else REFUSED
            return job
        if op == "check":
            self.check()
        elif op == "ahead":
            self.check_filled()
        elif op == "sample":
            self.check_filled()
            self.preview_changes()
        else:
            self.spec_form.apply(op)
            self.offer_columns()
        return None

    def check(self) -> None:
        self.spec_form.is_valid()
        self.check_numbers()
        self.read_node_needs()
        self.check_name()
        self.check_columns()

    def check_columns(self) -> None:
        """What the table's columns say against the spec, before it is queued."""
        spec = self.spec_form.parsed()
        if isinstance(spec, TrainSpec):
            target_faults = check_target(spec, {column.name: column.dtype for column in self.columns})
            self.spec_form.add_errors([{**error, "message": translate_error(error)} for error in target_faults])

    def check_filled(self) -> None:
        """As `check`, without the errors of fields that nothing was entered in yet."""
        self.check()
        blank = [i.pointer for i in self.problems if i.value in ("", None) and not i.boxes]
        for pointer in blank:
            self.spec_form.errors.pop(pointer, None)
            self.errors.pop(pointer, None)

    def preview_changes(self) -> None:
        """Ask the engine what the spec would change; its errors come beside the fields that they name."""
        self.told = preview_table(self.table, self.clean_spec, self.second)
        for error in self.told.errors if self.told else []:
            name, text = str(error.get("field") or ""), translate_error(error)
            if name == "inputs/table":
                self.errors.setdefault(f"inputs/{self.table_slot}", text)
            else:
                self.spec_form.add_errors([{"field": name, "message": text}], prefix="")

    def submit(self) -> Any:
        numbers = self.check_numbers()
        self.read_node_needs()
        try:
            self.check_name()
            if self.errors:
                self.spec_form.is_valid()
                return None
            return submit_job(actor=self.actor, project=self.project, submission=self.build_submission(numbers))[0]
        except Refused:
            raise
        except PlaneError as failure:
            self.refuse(failure)
            return None

    def build_submission(self, numbers: Mapping[str, int | None]) -> Submission:
        return Submission(
            kind=self.key,
            spec=self.spec_form.spec(),
            inputs=[InputSpec(slot=s, digest=d) for s in self.slots if (d := self.values.get(f"inputs/{s}"))],
            register={r: v for r in self.kind.registers if (v := self.values.get(f"register/{r}"))},
            name=self.values.get("name", ""),
            needs=self.read_node_needs(),
            priority=numbers.get("priority") or 0,
            time_limit_seconds=numbers.get("time_limit_seconds"),
            strict=False,
        )

    def check_numbers(self) -> dict[str, int | None]:
        numbers: dict[str, int | None] = {}
        for name in ("priority", "time_limit_seconds"):
            text = self.values.get(name, "")
            numbers[name] = parse_int(text, -MAX_INT64)
            if text and numbers[name] is None:
                self.errors[name] = _("%(text)s is not a whole number.") % {"text": text[:40]}
        return numbers

    def read_node_needs(self) -> Needs | None:
        needs, wrong = read_needs(self.values, self.kind.needs)
        self.errors |= wrong
        return needs

    def check_name(self) -> None:
        """The name of the dataset to register in, now: the job would fail of it at its very end."""
        try:
            if self.values.get("register/dataset"):
                registration.check_name(self.values["register/dataset"])
        except Invalid as failure:
            self.errors["register/dataset"] = translate_error(failure)

    def refuse(self, failure: PlaneError) -> None:
        """Errors of the spec go to its form, the others beside the fields that are ours."""
        own_pointers = {item.pointer for item in self.own}
        spec_errors = []
        for error in failure.errors:
            name = str(error.get("field") or "").lstrip("/").removesuffix("/digest")
            text = translate_error(error)
            if name in own_pointers:
                self.errors.setdefault(name, text)
            elif error["code"] == "column_not_numeric" or (
                self.kind.check is not None and not str(error["code"]).startswith("spec_")
            ):
                spec_errors.append({**error, "message": text})  # what this plane has against it, with the way out
            else:
                spec_errors.append(error)
        self.spec_form.add_errors(spec_errors)

    # -- the table ------------------------------------------------------------------------------------------------
    @property
    def table_slot(self) -> str:
        """The first slot that takes a table: one that no output of an earlier job fills; "" where there is none."""
        filled = SOURCES.get(self.key, {})
        if self.kind.user_code:
            return ""
        return next((slot for slot in self.slots if slot not in filled), "")

    @property
    def digest(self) -> str:
        """The table that is chosen."""
        return self.values.get(f"inputs/{self.table_slot}", "") if self.table_slot else ""

    @cached_property
    def table(self) -> DatasetFile | None:
        """The table in the first slot, as a file of its newest version; None while none is chosen, or of no version."""
        match = next((file for file in self.files if file.table_digest == self.digest), None)
        return match or find_table(self.actor, self.project, self.digest)

    @cached_property
    def second(self) -> DatasetFile | None:
        """The table in the slot join, for a plan that joins one."""
        digest = self.values.get("inputs/join", "")
        match = next((file for file in self.files if file.table_digest == digest), None)
        return match or find_table(self.actor, self.project, digest)

    @cached_property
    def image_versions(self) -> list[DatasetVersion]:
        """The newest versions of images, where the spec names one."""
        return list_image_versions(self.actor, self.project) if self.layout.images else []

    @cached_property
    def model_versions(self) -> list[ModelVersion]:
        """The newest versions of models of tables, where the spec names one."""
        return list_table_models(self.actor, self.project) if self.layout.models else []

    @property
    def images_version(self) -> DatasetVersion | None:
        """The version of images that the spec names, if it is one of the newest."""
        reference = str(self.spec_form.spec().get(self.layout.images.strip("/")) or "") if self.layout.images else ""
        return next((version for version in self.image_versions if format_image_reference(version) == reference), None)

    @cached_property
    def columns(self) -> list[TableColumn]:
        has_column_fields = self.layout.names or self.layout.picks
        return list_columns(self.table.version) if has_column_fields and self.table else []

    def offer_columns(self) -> None:
        if self.layout.picks and self.columns:
            fits = COLUMN_FITS.get(self.key, lambda column: column.is_learnable)
            self.spec_form.offers = {self.layout.picks: build_column_choices(self.columns, fits)}
        if self.layout.categories and self.columns:
            self.spec_form.offers[self.layout.categories] = build_column_choices(
                self.columns, lambda column: column.is_category
            )
        if self.layout.steps and self.columns:
            steps = self.spec_form.spec().get(self.layout.steps.strip("/"))
            self.spec_form.offers |= build_step_choices(self.columns, steps)

    @property
    def clean_spec(self) -> CleanSpec | None:
        spec = self.spec_form.parsed()
        return spec if isinstance(spec, CleanSpec) else None

    # -- looking ahead --------------------------------------------------------------------------------------------
    @property
    def modes(self) -> list[TrainMode]:
        """The other forms of this kind, and this one."""
        return list_modes(self.actor, self.project, self.key, current=ONE_JOB)

    @property
    def samples(self) -> bool:
        """Whether the engine can tell what this would change."""
        return self.key == "clean"

    @cached_property
    def schedule(self) -> SchedulePreview | None:
        if not is_scheduled(self.kind.spec):
            return None
        version = self.images_version or (self.table.version if self.table else None)
        rows = version.rows if version else None
        return build_schedule_preview(self.spec_form.spec(), rows, spec_type=self.kind.spec)

    @property
    def wrong(self) -> list[FormItem]:
        """The fields that keep the schedule from being drawn."""
        pointers = set(self.schedule.wrong) if self.schedule else set()
        return [item for item in list_problem_items(self.spec_form.items) if item.pointer in pointers]

    @cached_property
    def taken(self) -> Needs:
        """What it would take of a node, with what follows from the spec and from its memory."""
        return self.memory.fit.needs if self.memory and self.memory.fit else self.typed_needs

    @cached_property
    def typed_needs(self) -> Needs:
        """What was asked for, with what follows from the spec."""
        return resolve_needs(
            self.kind, Submission(kind=self.key, spec={}, needs=self.read_node_needs()), self.spec_form.parsed()
        )

    @cached_property
    def nodes(self) -> NodeLoads:
        return load_node_loads(self.actor)

    @cached_property
    def outlook(self) -> ScheduleEstimate:
        priority = self.check_numbers().get("priority") or 0
        size = self.table.artifact.size if self.table else None
        return estimate_schedule(
            self.actor, self.project, self.key, self.taken, priority=priority, size=size, node_loads=self.nodes
        )

    @cached_property
    def memory(self) -> MemoryPreview | None:
        """What it would need beside what it asks for and what the nodes have; None where that cannot be said."""
        spec = self.spec_form.spec()
        facts = find_facts(self.actor, self.project, self.key, spec, table=self.table, images=self.images_version)
        return preview_memory(self.key, self.table, spec, self.typed_needs, self.nodes, facts=facts)

    # -- out ------------------------------------------------------------------------------------------------------
    @property
    def slots(self) -> tuple[str, ...]:
        """Slots that a form can fill: the kind's own, and where any may be given, one."""
        slot_names = (*self.kind.inputs, *self.kind.optional_inputs)
        return slot_names or (("input",) if self.kind.any_inputs else ())

    @property
    def head(self) -> list[FormItem]:
        """What comes before the spec."""
        items = [self.build_item("name", _("Name"), limit=_("up to 120 characters"))]
        items += [self.build_input_item(slot) for slot in self.slots]
        for name in self.kind.registers:
            label, limit, doc = REGISTRATION_FIELDS[name]
            if {"dataset", "model"} <= set(self.kind.registers):  # "Register as" would stand there twice
                label = {"dataset": gettext_lazy("Dataset"), "model": gettext_lazy("Model")}.get(name, label)
            items.append(self.build_item(f"register/{name}", label, doc=doc, limit=limit))
        if self.layout.simple:
            has_steps = bool(self.spec_form.spec().get(self.layout.steps.strip("/")))
            items.append(build_mode_item(self.values.get(MODE) or (STEPS if has_steps else SIMPLE)))
        return items

    @property
    def tail(self) -> list[FormItem]:
        """What comes after the spec."""
        standard = self.kind.time_limit_seconds
        return [
            self.build_item(
                "priority",
                _("Priority"),
                control="number",
                keys="text",
                limit=_("-100 to 100"),
                default="0",
                doc=_("Higher starts first; 0 is usual."),
            ),
            self.build_item(
                "time_limit_seconds",
                _("Time limit"),
                control="number",
                keys="numeric",
                unit=_("seconds"),
                limit=_("1 to 2,592,000; %(standard)s if empty") % {"standard": f"{standard:,}"},
                doc=_("Of one attempt. What takes longer is stopped and fails."),
            ),
        ]

    def build_item(self, pointer: str, label: str | Promise, **more: Any) -> FormItem:
        value, error = self.values.get(pointer, ""), self.errors.get(pointer, "")
        return FormItem(kind="field", pointer=pointer, label=str(label), value=value, error=error, **more)

    def build_input_item(self, slot: str) -> FormItem:
        required = slot in self.kind.inputs and slot not in self.kind.folder_inputs and not self.kind.user_code
        if self.kind.user_code and slot == CODE:
            choices = [("", _("none")), *list_archives(self.actor, self.project)]
            doc = _("The newest archives of this project. Or name a version below, in Code from a repository.")
        elif slot in SOURCES.get(self.key, {}):
            choices = [("", _("Choose an output") if required else _("none"))]
            choices += build_slot_choices(self.key, slot, self.made)
            doc = _("Outputs of the latest jobs of this project. Choosing one fills the matching empty inputs.")
            doc = doc if slot == self.slots[0] else ""  # once, not beside each of nine
        else:
            choices = [("", _("Choose a version") if required else _("none"))]
            label = format_file_label if self.layout.media_types else format_table_label
            takes_parts = takes_files(self.kind, slot)
            choices += [
                (file.table_digest, label(file)) for file in self.files if takes_parts or not file.version.parts
            ]
            doc = _("Latest %(count)s versions. The job is pinned to this exact version.")
            if self.layout.media_types:
                doc = _("Latest %(count)s files. The job is pinned to this exact file.")
            doc %= {"count": MAX_TABLES_OFFERED}
        value = self.values.get(f"inputs/{slot}", "")
        if value and value not in dict(choices):
            choices.append((value, _("artifact %(digest)s…") % {"digest": value[:12]}))
        return self.build_item(
            f"inputs/{slot}",
            _("Version of a dataset") if slot == "table" else _("Input: %(slot)s") % {"slot": slot},
            control="select",
            choices=choices,
            required=required,
            renews=self.list_renewed_parts(slot),
            doc=doc,
        )

    def list_renewed_parts(self, slot: str) -> str:
        """What of the page follows from this input: names of columns, how a CSV file is read, the other inputs."""
        if slot in SOURCES.get(self.key, {}):
            return ",".join(f"#finputs-{other_slot}-f" for other_slot in SOURCES[self.key] if other_slot != slot)
        if slot != self.table_slot:
            return ""
        parts = [f"#{COLUMNS_LIST_ID}"] if self.layout.names else []
        parts += [f"#f-{self.layout.picks.strip('/')}-f"] if self.layout.picks else []
        parts += [f"#f-{self.layout.target.strip('/')}-f"] if self.layout.target else []
        parts += [f"#f-{self.layout.categories.strip('/')}-f"] if self.layout.categories else []
        parts += [f"#f-{self.layout.steps.strip('/')}-l"] if self.layout.steps else []
        parts += ["#f-csv-g", f"#{READ_AS}"] if "csv" in self.kind.spec.model_fields else []
        return ",".join(parts)

    @property
    def own(self) -> list[FormItem]:
        """Every field but the spec's."""
        return [*self.head, *build_needs_group(self.values, self.errors, self.kind.needs).items, *self.tail]

    @property
    def items(self) -> list[FormItem]:
        spec_items = self.spec_form.items
        if self.layout.target:
            offer_column(spec_items, self.layout.target, self.columns)
        needs = build_needs_group(self.values, self.errors, self.kind.needs)
        items = arrange_sections(
            self.layout, self.head, spec_items, needs, self.tail, after_first=self.groups_before_sections
        )
        return open_faulty_groups(items, was_refused=self.status == REFUSED)

    @property
    def groups_before_sections(self) -> list[FormItem]:
        """What other settings stand between what decides first and the parameters: none of a single job."""
        return []

    @property
    def problems(self) -> list[FormItem]:
        return list_problem_items(self.items)

    @property
    def as_body(self) -> dict[str, Any]:
        """The same submission as the body of a REST call."""
        submission = self.build_submission(self.check_numbers())
        body: dict[str, Any] = {"kind": self.key, "spec": self.spec_form.as_json()}
        if submission.needs:
            body["needs"] = submission.needs.as_body()
        if submission.inputs:
            body["inputs"] = {filled.slot: {"digest": filled.digest} for filled in submission.inputs}
        more = {name: getattr(submission, name) for name in ("register", "name", "priority", "time_limit_seconds")}
        return body | {name: value for name, value in more.items() if value}

    @property
    def error(self) -> str:
        return self.spec_form.error
