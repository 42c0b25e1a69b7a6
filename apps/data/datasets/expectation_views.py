"""The page of a dataset's expectations: a list, and a form for a new one, generated from the spec of its kind."""

from __future__ import annotations

from typing import Any, get_args

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy
from django.views.decorators.http import require_http_methods, require_POST
from pydantic import BaseModel

from apps.core.canonical import compute_digest
from apps.core.errors import Invalid
from apps.core.policy import is_allowed
from apps.data.datasets import queries
from apps.data.datasets.models import Dataset
from apps.data.datasets.quality.profile_jobs import measure_version
from apps.data.datasets.quality.required_expectations import load_expectations, set_expectations
from apps.platform.accounts.projects import get_project_context
from apps.platform.jobs.specforms.fields import translate_spec_text
from apps.platform.jobs.specforms.spec_form import SpecForm
from deepseek.messages import N_
from deepseek.quality.expectations_spec import AnyExpectation, describe_expectation

KINDS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(AnyExpectation)
}
KIND_LABELS = {
    "column": pgettext_lazy("expectation", "The column is there"),
    "not_null": pgettext_lazy("expectation", "No value is missing"),
    "unique": pgettext_lazy("expectation", "Unique, alone or together"),
    "range": pgettext_lazy("expectation", "Numbers within limits"),
    "one_of": pgettext_lazy("expectation", "One of a set of values"),
    "matches": pgettext_lazy("expectation", "Text of a pattern"),
    "length": pgettext_lazy("expectation", "Text of a length"),
    "row_count": pgettext_lazy("expectation", "Number of rows"),
    "monotonic": pgettext_lazy("expectation", "In order"),
    "compare": pgettext_lazy("expectation", "Two columns compared"),
    "date_range": pgettext_lazy("expectation", "Dates within limits"),
}

PANDERA_EXAMPLE = {"columns": {"close": {"dtype": "float64", "nullable": True, "greater_than_or_equal_to": 0}}}


@require_http_methods(["GET", "HEAD", "POST"])
def update_expectations(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """/p/<slug>/data/<name>/expectations?kind=: what is expected; POST adds one of the kind, or removes one."""
    actor, in_project = get_project_context(request, project)
    dataset = queries.get_dataset(actor, in_project, name)
    requested_kind = request.GET.get("kind", "")
    kind = requested_kind if requested_kind in KINDS else "not_null"
    form = SpecForm(KINDS[kind])
    form.left_out = frozenset({"/kind"})
    form.rare = frozenset({"/severity", "/max_share", "/note"})
    if request.method == "POST":
        rows = read_changed_expectations(request, dataset, kind, form)
        if rows is not None:
            set_expectations(actor=actor, dataset=dataset, expectations=rows, strict=False)
            messages.success(request, _("The expectations of %(name)s are kept.") % {"name": dataset.name})
            return redirect(f"{request.path}?kind={kind}")
    expectations = load_expectations(dataset)
    rows = [each.model_dump(mode="json") for each in expectations]
    pairs = zip(expectations, rows, strict=True)
    context: dict[str, Any] = {
        "nav": "data",
        "dataset": dataset,
        "rows": [
            {**row, "text": describe_expectation(each), "digest": compute_digest(row)[:12]} for each, row in pairs
        ],
        "kinds": list(KIND_LABELS.items()),
        "kind": kind,
        "doc": translate_spec_text(KINDS[kind].__doc__ or ""),
        "form": form,
        "may_set": is_allowed(actor, "dataset.set_expectations", in_project),
        "body": {"expectations": rows},
        "pandera_body": PANDERA_EXAMPLE,
    }
    wrong = bool(form.errors or form.error)
    return render(request, "datasets/expectations.html", context, status=422 if wrong else 200)


def read_changed_expectations(
    request: HttpRequest, dataset: Dataset, kind: str, form: SpecForm
) -> list[dict[str, Any]] | None:
    """The new expectations; None if the form is invalid, or the request only adds or removes a form field."""
    rows = [each.model_dump(mode="json") for each in load_expectations(dataset)]
    remove = request.POST.get("remove")
    if remove is not None:
        index, _colon, digest = remove.partition(":")
        # By its place and what stands there: somebody else may have removed one meanwhile.
        remaining = [
            row for position, row in enumerate(rows) if str(position) != index or compute_digest(row)[:12] != digest
        ]
        if len(remaining) == len(rows):
            raise Invalid("This expectation is there no more.", field="remove", hint=N_("Look at the list again."))
        return remaining
    form.bind(request.POST)
    if form.apply(request.POST.get("op", "submit")):
        return None
    form.values = {**form.spec(), "kind": kind}
    return [*rows, dict(form.values)] if form.is_valid() else None


@require_POST
def measure(request: HttpRequest, project: str, name: str, version: str) -> HttpResponse:
    """/p/<slug>/data/<name>/<version>/measure: queue a profile job and redirect to it."""
    actor, in_project = get_project_context(request, project)
    job, is_new = measure_version(actor=actor, version=queries.get_version(actor, in_project, name, version))
    text = _("Job %(number)s is queued.") if is_new else _("Job %(number)s measures it already.")
    messages.success(request, text % {"number": job.pk})
    return redirect("jobs:detail", project=in_project.slug, pk=job.pk)
