"""The form of a pipeline from a template: a version, names for what comes of it, and the parameters of every step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.utils.translation import gettext as _

from apps.accounts.models import Project
from apps.actors import Actor
from apps.datasets.job_views import FILES_OFFERED, label_of, offered, where_it_runs
from apps.datasets.models import DatasetFile
from apps.errors import PlaneError, Refused
from apps.jobs.forms import Item, SpecForm
from apps.jobs.kinds import KINDS
from apps.jobs.needs_fields import needs_item, read_needs
from apps.jobs.serializers import NeedsBody
from apps.jobs.submission import queue_of
from apps.pipelines.models import Pipeline
from apps.pipelines.services import submit_pipeline
from apps.pipelines.templates import Ground, asked_of, template_of

COLUMNS = "columns"  # id of the list of names that the fields of columns offer
COLUMNS_OFFERED = 500
COLUMNS_TOLD = 12  # below the version
TRAIN = "train"
OF_NEEDS = re.compile(r"/steps/\d+/needs/")  # of the one step that the form asks them for
OF_VERSION = frozenset({"/clean/csv/delimiter", "/clean/csv/encoding"})  # known, and other with another version
FOLDED = frozenset({"/clean", "/train/schedule", "/quantize", "/compile"})


class PipelineForm:
    """Blank, or `begin` from a version; `bind(POST)` reads, `handle(op)` checks or submits."""

    def __init__(self, actor: Actor, project: Project, template: str) -> None:
        self.actor, self.project, self.key = actor, project, template
        self.template = template_of(template)
        self.spec_form = SpecForm(self.template.parameters)
        self.spec_form.datalists = {"/train/target": COLUMNS}
        self.spec_form.folded, self.spec_form.left_out = FOLDED, OF_VERSION
        self.values: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.status = 200
        self.files = {str(file.version_id): file for file in reversed(offered(actor, project))}

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

    def bind(self, data: Mapping[str, str]) -> None:
        self.spec_form.bind(data)
        if self.skips:  # the page hides how to clean then
            self.spec_form.values.pop("clean", None)
        self.values = {item.pointer: str(data.get(item.pointer, "")).strip() for item in self.own}

    def handle(self, op: str) -> Pipeline | None:
        """The pipeline, if `op` submitted one; otherwise None, with the form changed or its errors told."""
        if op not in ("check", "submit"):
            self.spec_form.apply(op)
            return None
        self.errors |= read_needs(self.values, KINDS[TRAIN].needs)[1]
        if self.file is None:
            self.errors["version"] = _("Choose a version.")
            self.spec_form.is_valid()
        else:
            try:
                asked = asked_of(self.key, self.ground(self.file), self.spec_form.spec(), strict=False)
                if op == "submit" and not self.errors:
                    return submit_pipeline(actor=self.actor, project=self.project, asked=asked)[0]
            except Refused:
                raise
            except PlaneError as failure:
                self.refuse(failure)
        self.status = 422 if op == "submit" else 200
        return None

    def ground(self, file: DatasetFile) -> Ground:
        """What is named beside the parameters."""
        needs, _wrong = read_needs(self.values, KINDS[TRAIN].needs)
        return Ground(
            version=file.version,
            table=file,
            model=self.values.get("model", ""),
            cleaned=("" if self.skips else self.values.get("cleaned", "")) or None,
            needs={TRAIN: NeedsBody.model_construct(**asdict(needs))} if needs else None,  # checked with the step
        )

    def refuse(self, failure: PlaneError) -> None:
        """Errors of parameters go to their form, the others beside the fields that are ours."""
        ours = {item.pointer for item in self.own}
        rest = []
        for error in failure.errors:
            full = str(error.get("field") or "")
            name = OF_NEEDS.sub("needs/", full).lstrip("/")
            if name in ours:
                text = str(error["message"]).removeprefix(f"{full}: ")
                self.errors.setdefault(name, " ".join(filter(None, (text, error.get("hint")))))
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

    @property
    def columns(self) -> list[str]:
        """The names that fields of columns offer."""
        found = self.file.version.columns if self.file else []
        return [str(column.get("name")) for column in found[:COLUMNS_OFFERED]]

    @property
    def own(self) -> list[Item]:
        """Every field but the parameters'."""
        return [*self.head, *self.needs_group.items]

    @property
    def head(self) -> list[Item]:
        choices = [("", _("Choose a version")), *((key, label_of(file)) for key, file in self.newest_first())]
        version = self.item("version", _("Version of a dataset"), control="select", choices=choices, required=True)
        version.doc, version.renews = self.said_of_columns, f"#{COLUMNS},#fversion-d"
        model = self.item("model", _("Model"), required=True, limit=_("a model's name"))
        model.doc = _("The model that gets the new version; it is made if there is none.")
        cleaned = self.item("cleaned", _("Cleaned table as"), limit=_("a dataset's name"))
        cleaned.doc = _(
            "The dataset that gets the cleaned table; if empty, the one of the version with -clean behind it."
        )
        return [version, model, cleaned]

    def newest_first(self) -> list[tuple[str, DatasetFile]]:
        return sorted(self.files.items(), key=lambda pair: -int(pair[0]))

    @property
    def said_of_columns(self) -> str:
        names = self.columns
        if not names:
            return _("The newest %(count)s tables of this project. Its columns are not known yet.") % {
                "count": FILES_OFFERED
            }
        told = ", ".join(names[:COLUMNS_TOLD]) + ("…" if len(names) > COLUMNS_TOLD else "")
        return _("Its columns: %(names)s.") % {"names": told}

    @property
    def needs_group(self) -> Item:
        group = needs_item(self.values, self.errors, KINDS[TRAIN].needs)
        group.label = _("What training takes of a node")
        group.folded = not any(item.error for item in group.items)
        return group

    def item(self, pointer: str, label: str, **more: Any) -> Item:
        value, error = self.values.get(pointer, ""), self.errors.get(pointer, "")
        return Item(kind="field", pointer=pointer, label=label, value=value, error=error, **more)

    @property
    def items(self) -> list[Item]:
        return [*self.head, *self.spec_form.items, self.needs_group]

    @property
    def error(self) -> str:
        return self.spec_form.error

    @property
    def where(self) -> str:
        """Where its jobs will run and why, a sentence for each queue."""
        asked, _wrong = read_needs(self.values, KINDS[TRAIN].needs)
        queues = [
            queue_of(KINDS[kind], asked if asked and step == TRAIN else KINDS[kind].needs)
            for step, kind in self.template.kinds.items()
        ]
        return " ".join(where_it_runs(self.actor, queue) for queue in dict.fromkeys(queues))

    @property
    def as_body(self) -> dict[str, Any]:
        """The same request as the body of a REST call, what is left at its default left out."""
        file = self.file
        blank = SpecForm(self.template.parameters).spec()
        params = differing(self.spec_form.spec(), blank)
        params[TRAIN] = {"task": "forecast", "target": (self.columns or ["COLUMN"])[-1]} | params.get(TRAIN, {})
        body = {
            "template": self.key,
            "dataset": file.version.dataset.name if file else "DATASET",
            "version": file.version.number if file else 1,
            "params": params,
            "model": self.values.get("model") or "MODEL",
        }
        return body | ({"cleaned": self.values["cleaned"]} if self.values.get("cleaned") else {})


def differing(values: Mapping[str, Any], blank: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not as in `blank`, through all groups."""
    found = {}
    for name, value in values.items():
        old = blank.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            inner = differing(value, old)
            if inner:
                found[name] = inner
        elif value != old and str(value) != str(old):
            found[name] = value
    return found
