"""The form of a new job. It is here because its inputs are versions of datasets, of which jobs know nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from apps import policy
from apps.accounts.models import Project
from apps.actors import Actor
from apps.datasets import services
from apps.datasets.manifest import PARQUET, Dialect, dialect_of
from apps.datasets.models import Dataset, DatasetFile
from apps.errors import Invalid, NotFound, PlaneError, Refused
from apps.jobs import reads
from apps.jobs.forms import Item, SpecForm
from apps.jobs.kinds import KINDS, JobKind, Needs
from apps.jobs.needs_fields import needs_item, needs_of_job, read_needs
from apps.jobs.services import submit_job
from apps.jobs.submission import InputSpec, Submission, queue_of
from apps.jobs.views import within
from apps.nodes.models import Node

FILES_OFFERED = 200  # newest first; what is older is named by its digest


@require_safe
def choose_kind(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/jobs/new: what shall it do?"""
    actor, where = within(request, project)
    policy.require(actor, "job.submit", where)
    kinds = [{"key": key, "kind": kind} for key, kind in KINDS.items()]
    return render(request, "jobs/kinds.html", {"nav": "jobs", "kinds": kinds, "version": request.GET.get("version")})


@require_http_methods(["GET", "HEAD", "POST"])
def new_job(request: HttpRequest, project: str, kind: str) -> HttpResponse:
    """/p/<slug>/jobs/new/<kind>: blank, from a version (?version=), or from another job (?from=).

    POST with op=check answers the form with errors for htmx; op=add:… and del:… change a list; op=submit queues.
    """
    actor, where = within(request, project)
    policy.require(actor, "job.submit", where)
    if kind not in KINDS:
        raise NotFound(f"There is no job kind {kind[:40]!r}.", field="kind", limit=", ".join(KINDS))
    form = JobForm(actor, where, kind)
    if request.method == "POST":
        form.bind(request.POST)
        job = form.handle(request.POST.get("op", "submit"))
        if job is not None:
            messages.success(request, _("Job %(number)s is queued.") % {"number": job.pk})
            return redirect("jobs:detail", project=where.slug, pk=job.pk)
    else:
        form.begin(request.GET)
    template = "jobs/new_form.html" if request.htmx else "jobs/new.html"  # type: ignore[attr-defined]
    where_to = where_it_runs(actor, form.queue)
    context = {"nav": "jobs", "key": kind, "kind": KINDS[kind], "form": form, "where": where_to}
    return render(request, template, context, status=form.status)


REGISTERED: dict[str, tuple[Promise, Promise, Promise]] = {
    "dataset": (
        gettext_lazy("Register as"),
        gettext_lazy("a dataset's name"),
        gettext_lazy(
            "The dataset that gets the new version; it is made if there is none. Empty: outputs stay artifacts."
        ),
    ),
    "model": (
        gettext_lazy("Register as"),
        gettext_lazy("a model's name"),
        gettext_lazy(
            "The model that gets the new version; it is made if there is none. Empty: outputs stay artifacts."
        ),
    ),
    "experiment": (
        gettext_lazy("Experiment"),
        gettext_lazy("an experiment's name"),
        gettext_lazy("The runs that this one is listed with; it is made if there is none. Empty: Default."),
    ),
}
"""What a job may register under: the label of its field, its limit, and what comes of it."""


class JobForm:
    """The spec's form with, around it, what every job has: name, inputs, what it registers, priority, time limit."""

    def __init__(self, actor: Actor, project: Project, key: str) -> None:
        self.actor, self.project, self.key = actor, project, key
        self.kind: JobKind = KINDS[key]
        self.spec_form = SpecForm(key)
        self.values: dict[str, str] = {"priority": "0"}
        self.errors: dict[str, str] = {}
        self.status = 200
        self.files = offered(actor, project)

    # -- in -------------------------------------------------------------------------------------------------------
    def begin(self, query: Mapping[str, str]) -> None:
        """Fill in what a version or another job gives."""
        if query.get("from", "").isdigit():
            self.from_job(int(query["from"][:12]))
        elif query.get("version", "").isdigit():
            self.from_version(int(query["version"][:12]))

    def from_job(self, pk: int) -> None:
        job = reads.get_job(self.actor, self.project, pk)
        if job.kind == self.key:
            self.spec_form = SpecForm(self.key, json.loads(job.spec))
        self.values |= {"name": job.name, "priority": str(job.priority)}
        if job.time_limit_seconds != self.kind.time_limit_seconds:
            self.values["time_limit_seconds"] = str(job.time_limit_seconds)
        self.values |= needs_of_job(job, self.kind.needs)
        self.values |= {f"inputs/{i.slot}": i.artifact_id for i in job.inputs.all() if i.artifact_id}
        self.values |= {f"register/{name}": str(value) for name, value in job.register.items()}

    def from_version(self, pk: int) -> None:
        """The version's table in the first slot, its dialect in the spec, its dataset's name with -clean."""
        file = next((file for file in self.files if file.version_id == pk), None)
        if file is None or not self.slots:
            return
        self.values[f"inputs/{self.slots[0]}"] = file.artifact_id
        name = file.version.dataset.name
        self.values["name"] = _("Clean %(version)s") % {"version": str(file.version)} if self.key == "clean" else ""
        if "dataset" in self.kind.registers:
            self.values["register/dataset"] = name if name.endswith("-clean") else f"{name[:44]}-clean"
        dialect = dialect_of(file.media_type)
        if dialect not in (None, Dialect()) and "csv" in self.kind.spec.model_fields:
            read = {"delimiter": dialect.delimiter, "encoding": dialect.encoding}  # type: ignore[union-attr]
            values = self.spec_form.spec()
            self.spec_form = SpecForm(self.key, {**values, "csv": {**(values.get("csv") or {}), **read}})

    def bind(self, data: Mapping[str, str]) -> None:
        self.spec_form.bind(data)
        self.values = {item.pointer: str(data.get(item.pointer, "")).strip() for item in self.own}

    def handle(self, op: str) -> Any:
        """The job, if `op` queued one; otherwise None, with the form changed or its errors told."""
        if op == "check":
            self.spec_form.is_valid()
            self.check_numbers()
            self.needs()
            self.check_name()
            return None
        if op != "submit":
            self.spec_form.apply(op)
            return None
        job = self.submit()
        self.status = 200 if job else 422
        return job

    def submit(self) -> Any:
        numbers = self.check_numbers()
        self.needs()
        try:
            self.check_name()
            if self.errors:
                self.spec_form.is_valid()
                return None
            return submit_job(actor=self.actor, project=self.project, asked=self.submission(numbers))[0]
        except Refused:
            raise
        except PlaneError as failure:
            self.refuse(failure)
            return None

    def submission(self, numbers: Mapping[str, int | None]) -> Submission:
        return Submission(
            kind=self.key,
            spec=self.spec_form.spec(),
            inputs=[InputSpec(slot=s, digest=d) for s in self.slots if (d := self.values.get(f"inputs/{s}"))],
            register={r: v for r in self.kind.registers if (v := self.values.get(f"register/{r}"))},
            name=self.values.get("name", ""),
            needs=self.needs(),
            priority=numbers.get("priority") or 0,
            time_limit_seconds=numbers.get("time_limit_seconds"),
            strict=False,
        )

    def check_numbers(self) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        for name in ("priority", "time_limit_seconds"):
            text = self.values.get(name, "")
            try:
                found[name] = int(text) if text else None
            except ValueError:
                self.errors[name] = _("%(text)s is not a whole number.") % {"text": text[:40]}
        return found

    def needs(self) -> Needs | None:
        asked, wrong = read_needs(self.values, self.kind.needs)
        self.errors |= wrong
        return asked

    def check_name(self) -> None:
        """The name of the dataset to register in, now: the job would fail of it at its very end."""
        try:
            if self.values.get("register/dataset"):
                services.check_name(self.values["register/dataset"])
        except Invalid as failure:
            self.errors["register/dataset"] = f"{failure.message} {failure.hint or ''}".strip()

    def refuse(self, failure: PlaneError) -> None:
        """Errors of the spec go to its form, the others beside the fields that are ours."""
        ours = {item.pointer for item in self.own}
        rest = []
        for error in failure.errors:
            name = str(error.get("field") or "").lstrip("/").removesuffix("/digest")
            if name in ours:
                self.errors.setdefault(name, " ".join(filter(None, (error["message"], error.get("hint")))))
            else:
                rest.append(error)
        self.spec_form.add_errors(rest)

    # -- out ------------------------------------------------------------------------------------------------------
    @property
    def slots(self) -> tuple[str, ...]:
        """Slots that a form can fill: the kind's own, and where any may be given, one."""
        named = (*self.kind.inputs, *self.kind.optional_inputs)
        return named or (("input",) if self.kind.any_inputs else ())

    @property
    def head(self) -> list[Item]:
        """What comes before the spec."""
        items = [self.item("name", _("Name"), limit=_("up to 120 characters"), doc=_("For people; may stay empty."))]
        items += [self.input_item(slot) for slot in self.slots]
        for name in self.kind.registers:
            label, limit, doc = REGISTERED[name]
            items.append(self.item(f"register/{name}", label, doc=doc, limit=limit))
        return items

    @property
    def tail(self) -> list[Item]:
        """What comes after the spec."""
        standard = self.kind.time_limit_seconds
        return [
            self.item(
                "priority",
                _("Priority"),
                control="number",
                limit=_("-100 to 100"),
                doc=_("Higher starts first; 0 is usual."),
            ),
            self.item(
                "time_limit_seconds",
                _("Time limit"),
                control="number",
                unit=_("seconds"),
                limit=_("1 to 2,592,000; %(standard)s if empty") % {"standard": f"{standard:,}"},
                doc=_("Of one attempt. What takes longer is stopped and fails."),
            ),
        ]

    def item(self, pointer: str, label: str, **more: Any) -> Item:
        value, error = self.values.get(pointer, ""), self.errors.get(pointer, "")
        return Item(kind="field", pointer=pointer, label=label, value=value, error=error, **more)

    def input_item(self, slot: str) -> Item:
        required = slot in self.kind.inputs
        choices = [("", _("Choose a version") if required else _("none"))]
        choices += [(file.artifact_id, label_of(file)) for file in self.files]
        value = self.values.get(f"inputs/{slot}", "")
        if value and value not in dict(choices):
            choices.append((value, _("artifact %(digest)s…") % {"digest": value[:12]}))
        return self.item(
            f"inputs/{slot}",
            _("Input: %(slot)s") % {"slot": slot},
            control="select",
            choices=choices,
            required=required,
            doc=_("The newest %(count)s tables of this project. The job keeps the digest, not the name.")
            % {"count": FILES_OFFERED},
        )

    @property
    def own(self) -> list[Item]:
        """Every field but the spec's."""
        return [*self.head, *needs_item(self.values, self.errors, self.kind.needs).items, *self.tail]

    @property
    def queue(self) -> str:
        return queue_of(self.kind, self.needs() or self.kind.needs)

    @property
    def items(self) -> list[Item]:
        label = _("What it does")
        spec = Item(kind="group", pointer="", label=label, doc=str(self.kind.doc), items=self.spec_form.items)
        return [*self.head, spec, needs_item(self.values, self.errors, self.kind.needs), *self.tail]

    @property
    def as_body(self) -> dict[str, Any]:
        """The same submission as the body of a REST call."""
        asked = self.submission({})
        body: dict[str, Any] = {"kind": self.key, "spec": dict(asked.spec)}
        if asked.needs:
            body["needs"] = asdict(asked.needs)
        if asked.inputs:
            body["inputs"] = {filled.slot: {"digest": filled.digest} for filled in asked.inputs}
        return body | {key: value for key, value in (("register", asked.register), ("name", asked.name)) if value}

    @property
    def error(self) -> str:
        return self.spec_form.error


def offered(actor: Actor, project: Project) -> list[DatasetFile]:
    """The tables of the newest versions, each digest once under its newest name. One query."""
    tables = Q(media_type__startswith="text/csv") | Q(media_type=PARQUET)
    found = (
        DatasetFile.objects.filter(
            tables, version__dataset__in=Dataset.objects.visible_to(actor).filter(project=project)
        )
        .select_related("version__dataset")
        .defer("version__manifest")
        .order_by("-version_id", "path")[:FILES_OFFERED]
    )
    once: dict[str, DatasetFile] = {}
    for file in found:
        once.setdefault(file.artifact_id, file)
    return list(once.values())


def label_of(file: DatasetFile) -> str:
    rows = f"{file.version.rows:,}" if file.version.rows is not None else "?"
    return _("%(version)s, %(rows)s rows") % {"version": str(file.version), "rows": rows}


def where_it_runs(actor: Actor, queue: str) -> str:
    """Where it will run and why: the nodes online that serve its queue."""
    nodes = Node.objects.visible_to(actor).with_status().filter(status="online").order_by("name")
    names = [node.name for node in nodes if queue in node.queues]
    if not names:
        return _("No node serves the queue %(queue)s now: it waits until one is online.") % {"queue": queue}
    told = {"nodes": ", ".join(names[:5]), "queue": queue}
    return _("Runs where the queue %(queue)s is served: on %(nodes)s.") % told
