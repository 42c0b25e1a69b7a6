"""The form of a new evaluation set: its table's columns are offered, and errors stand beside their fields."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError
from apps.core.request_values import parse_int
from apps.data.datasets.column_choices import TableColumn, build_column_choices, list_columns, offer_column
from apps.data.datasets.forms import FieldsForm
from apps.data.datasets.latest_tables import format_table_label, list_latest_tables
from apps.data.datasets.models import DatasetVersion
from apps.ml.registry.evaluations.sets import TEXT_TASKS, check_set_name, parse_set_spec
from apps.ml.registry.models import EvaluationSet, ModelVersion
from apps.ml.registry.services.evaluations import create_evaluation_set
from apps.ml.registry.services.validation import check_name
from apps.platform.accounts.models import Project
from apps.platform.jobs.specforms.fields import FormItem, draw_boxes, list_problem_items
from apps.platform.jobs.specforms.typed_lists import split_entries
from deepseek.evaluate.spec import METRICS

RENEWED = "#ftarget-f,#fslices-f,#fgroup-f"  # with another table


class EvaluationSetForm(FieldsForm):
    """Blank with what the newest version of a model predicts, or what was typed."""

    field_names = (
        "name",
        "data",
        "task",
        "target",
        "primary_metric",
        "slices",
        "group",
        "first_row",
        "supersede",
    )
    renamed_fields: Mapping[str, str] = {}

    def __init__(
        self, actor: Actor, project: Project, newest: ModelVersion | None, data: QueryDict | None = None
    ) -> None:
        super().__init__(data or {"task": getattr(newest, "task", ""), "target": getattr(newest, "target", "")})
        self.actor, self.project = actor, project
        self.status = 200
        self.values = {name: text.strip() for name, text in self.values.items()}
        if data is not None:
            self.values["slices"] = "\n".join(data.getlist("slices"))  # boxes, or one text

    # -- in -------------------------------------------------------------------------------------------------------
    def check(self) -> None:
        """Check every field that was typed, without a set being made."""
        for check in (self.check_name, self.require_table, self.parse_first_row, self.parse_spec):
            self.attempt(check)

    def save(self) -> EvaluationSet | None:
        """The set, or None with `errors` where something is wrong: all of it, before what only the database knows."""
        self.check()
        return None if self.is_refused else self.attempt(self.create)

    def create(self) -> EvaluationSet:
        values = self.values
        return create_evaluation_set(
            actor=self.actor,
            project=self.project,
            name=values["name"],
            dataset_version=self.require_table(),
            task=values["task"],
            target=values["target"],
            primary_metric=values["primary_metric"],
            spec=self.build_spec(self.parse_first_row()),
            supersede=bool(values["supersede"]),
        )

    def check_name(self) -> None:
        check_name("name", self.values["name"])
        check_set_name(self.values["name"])

    def parse_spec(self) -> None:
        """Raise Invalid with every error of the other fields; a first row that is none has its own already."""
        values = self.values
        spec = self.build_spec(None if "first_row" in self.errors else self.parse_first_row())
        parse_set_spec(values["task"], values["target"], values["primary_metric"], spec, self.table)

    def require_table(self) -> DatasetVersion:
        if self.table is None:
            raise Invalid("Choose the table to measure on.", field="data")
        return self.table

    def parse_first_row(self) -> int | None:
        text = self.values["first_row"]
        first = parse_int(text)
        if text and first is None:
            raise Invalid("{text} is no number.", text=text[:40], field="first_row", limit="a whole number")
        return first

    def build_spec(self, first: int | None) -> dict[str, Any]:
        """The part of the spec that the page asks for; the rest has its defaults, or comes over REST."""
        group = self.values["group"]
        return {
            "slices": [{"column": column} for column in split_entries(self.values["slices"])],
            **({"group": group} if group else {}),
            **({} if first is None else {"first_row": first}),
        }

    def refuse(self, failure: PlaneError) -> None:
        """As REST names the fields of the spec: below /spec."""
        self.status = failure.status
        errors = [{**each, "field": str(each.get("field") or "").removeprefix("/spec")} for each in failure.errors]
        super().refuse(Invalid("", errors=errors))

    # -- out ------------------------------------------------------------------------------------------------------
    @cached_property
    def table(self) -> DatasetVersion | None:
        """The chosen version; None for one that this project does not have."""
        pk = parse_int(self.values["data"])
        versions = DatasetVersion.objects.visible_to(self.actor).select_related("dataset")
        return None if pk is None else versions.filter(dataset__project=self.project, pk=pk).first()

    @cached_property
    def columns(self) -> list[TableColumn]:
        return list_columns(self.table) if self.table else []

    @cached_property
    def tables(self) -> list[tuple[str, str]]:
        tables = [
            (str(file.version_id), format_table_label(file)) for file in list_latest_tables(self.actor, self.project)
        ]
        if self.table and str(self.table.pk) not in dict(tables):
            tables.append((str(self.table.pk), str(self.table)))
        return tables

    @property
    def items(self) -> list[FormItem]:
        """What decides first, then the data in sections, and what is rarely changed folded."""
        first = [
            self.build_item("name", _("Name"), required=True, limit=_("Lower-case letters, digits and hyphens.")),
            self.build_item(
                "data",
                _("Table"),
                control="select",
                required=True,
                choices=[("", _("Choose a version")), *self.tables],
                renews=RENEWED,
            ),
            self.build_item(
                "task",
                _("Task"),
                control="select",
                required=True,
                choices=[(name, name) for name in METRICS],
                renews="#ftarget-f",  # of a task of texts it is no column
            ),
            self.build_item("target", _("Target column"), required=True),
        ]
        slices = self.build_item(
            "slices",
            _("Slices"),
            control="textarea",  # an input of one line would join those of boxes, one a line, into one name
            doc=_("Comma-separated columns; their values or quantile bins are evaluated separately."),
        )
        if self.columns:
            slices.doc = _("Columns whose values or quantile bins are evaluated separately.")
            draw_boxes(slices, build_column_choices(self.columns, lambda column: True))
        data = [
            slices,
            self.build_item("group", _("Query column"), doc=_("Of a ranking: rows with the same value are one query.")),
            self.build_item(
                "first_row",
                _("First row"),
                control="number",
                keys="numeric",
                doc=_("Rows before it are only looked back on: forecasts with different lags then share their rows."),
            ),
        ]
        rare = [
            self.build_item(
                "primary_metric", _("Primary metric"), limit=_("Empty: accuracy, rmse or map, by the task.")
            ),
            self.build_item(
                "supersede", _("The next revision of a set of this name"), control="checkbox", required=True
            ),
        ]
        items = [
            *first,
            FormItem(kind="group", pointer="section-data", label=_("Data"), items=data),
            FormItem(kind="group", pointer="rare", label=_("Advanced"), items=rare, folded=True),
        ]
        items[-1].open = any(item.value or item.error for item in rare)
        for pointer in ("group",) if self.values["task"] in TEXT_TASKS else ("target", "group"):
            offer_column(items, pointer, self.columns)
        return items

    @property
    def problems(self) -> list[FormItem]:
        return list_problem_items(self.items)

    @property
    def is_refused(self) -> bool:
        return self.status != 200
