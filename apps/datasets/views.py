"""Pages of datasets: the list, the upload, one dataset, one version with its tabs."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps import policy
from apps.actors import Actor
from apps.audit.reads import timeline
from apps.datasets import reads, services, shown
from apps.datasets.forms import DatasetForm, UploadForm
from apps.datasets.models import Dataset, DatasetVersion
from apps.datasets.sources import end_of
from apps.errors import NotFound, PlaneError, Refused
from apps.jobs.views import flat, within
from apps.lineage.reads import graph
from apps.lineage.steps import rows_of, strip_of
from apps.pages import page_asked
from apps.policy import allows

TABS = ("overview", "preview", "quality", "files", "lineage", "audit")
ORDERS = {"name": ("name", "pk"), "-name": ("-name", "-pk"), "made": ("pk",), "-made": ("-pk",)}
DEPTH = 4


# -- lists ----------------------------------------------------------------------------------------------------------
@require_safe
def dataset_list(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/data: every dataset with what its newest version holds."""
    actor, where = within(request, project)
    name = request.GET.get("name", "")[:60].replace("\x00", "")
    sort = request.GET.get("sort", "") if request.GET.get("sort", "") in ORDERS else "name"
    newest = DatasetVersion.objects.filter(dataset=OuterRef("pk"), number=OuterRef("versions_count"))
    datasets = reads.list_datasets(actor, where, query=name).annotate(
        quality=Subquery(newest.values("quality_id")), changed_by=Subquery(newest.values("created_by"))
    )
    page = page_asked(datasets, request.GET, order=ORDERS[sort])
    context = {
        "nav": "data",
        "page": page,
        "sort": sort,
        "shares": shown.missing_shares(getattr(row, "quality", None) for row in page.items),
        "filters": [{"name": "name", "label": _("Name"), "value": name}],
        "active": bool(name),
        "keep": {"sort": sort} if request.GET.get("sort") else {},
        "count": Dataset.objects.visible_to(actor).filter(project=where).count(),
        "may_add": allows(actor, "dataset.add_version", where),
        "command": upload_command(request, where.slug, "NAME").replace(" \\\n ", ""),
    }
    return render(request, "datasets/list.html", context)


@require_safe
def dataset_page(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """/p/<slug>/data/<name>: its versions, newest first."""
    actor, where = within(request, project)
    dataset = reads.get_dataset(actor, where, name)
    page = page_asked(reads.list_versions(actor, dataset), request.GET, order=("-number",))
    context = {
        "nav": "data",
        "dataset": dataset,
        "page": page,
        "shares": shown.missing_shares(version.quality_id for version in page.items),
        "may_add": allows(actor, "dataset.add_version", where),
        "may_submit": allows(actor, "job.submit", where),
    }
    return render(request, "datasets/dataset.html", context)


# -- writes ---------------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/upload: a CSV file becomes a version; what is wrong with it stands beside its field."""
    actor, where = within(request, project)
    policy.require(actor, "dataset.add_version", where)
    form = UploadForm(request.POST if request.method == "POST" else {"dataset": request.GET.get("dataset", "")[:60]})
    if request.method == "POST":
        saved = form.save(actor, where, request.FILES.get("file"))  # type: ignore[arg-type]
        if saved is not None:
            version, is_new = saved
            say_added(request, version, is_new)
            return redirect("datasets:version", project=where.slug, name=version.dataset.name, version=version.number)
    return drawn_upload(request, where.slug, form, DatasetForm())


def drawn_upload(request: HttpRequest, slug: str, form: UploadForm, empty_form: DatasetForm) -> HttpResponse:
    terminal = upload_command(request, slug, "NAME")
    context = {"nav": "data", "form": form, "empty_form": empty_form, "terminal": terminal}
    wrong = form.errors or form.error or empty_form.errors or empty_form.error
    return render(request, "datasets/upload.html", context, status=422 if wrong else 200)


def upload_command(request: HttpRequest, slug: str, name: str) -> str:
    """The upload from a terminal; the file is streamed."""
    url = request.build_absolute_uri(reverse("api-dataset-versions", args=[slug, name]))
    parts = ("curl -X POST -T table.csv", '-H "Authorization: Bearer $TOKEN"', '-H "Content-Type: text/csv"', url)
    return " \\\n  ".join(parts)


def say_added(request: HttpRequest, version: DatasetVersion, is_new: bool) -> None:
    if is_new:
        told = {"version": str(version), "rows": f"{version.rows or 0:,}"}
        messages.success(request, _("%(version)s is there: %(rows)s rows, every one read.") % told)
    else:
        messages.info(request, _("These bytes are %(version)s already: nothing was added.") % {"version": str(version)})


@require_POST
def create(request: HttpRequest, project: str) -> HttpResponse:
    """A dataset without versions, for what jobs will register."""
    actor, where = within(request, project)
    form = DatasetForm(request.POST)
    name, description = form.values["dataset"].strip(), form.values["description"].strip()
    try:
        made = services.create_dataset(actor=actor, project=where, name=name, description=description)
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        form.refuse(failure)
        return drawn_upload(request, where.slug, UploadForm(), form)
    messages.success(request, _("The dataset %(name)s is there, without versions yet.") % {"name": made.name})
    return redirect("datasets:dataset", project=where.slug, name=made.name)


# -- one version ----------------------------------------------------------------------------------------------------
@require_safe
def version_page(request: HttpRequest, project: str, name: str, version: str, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/data/<name>/<number or digest>[/<tab>]"""
    actor, where = within(request, project)
    found = reads.get_version(actor, where, name, version)
    job, parent = shown.parent_of(found)
    report = shown.report_of(actor, found) if tab in ("overview", "quality") else None
    users = list(reads.users_of(actor, found)[:20])
    context: dict[str, Any] = {
        "nav": "data",
        "version": found,
        "dataset": found.dataset,
        "tab": tab,
        "job": job,
        "parent": parent,
        "report": report,
        "total": shown.total_of(report),
        "users": users,
        "files": reads.files_of(actor, found),
        "is_table": found.media_type.startswith(("text/csv", "application/vnd.apache.parquet")),
        "may_submit": allows(actor, "job.submit", where),
        "may_add": allows(actor, "dataset.add_version", where),
    }
    context |= tab_context(actor, found, parent, report, tab)
    return render(request, f"datasets/{tab}.html", context)


def tab_context(
    actor: Actor, version: DatasetVersion, parent: DatasetVersion | None, report: dict[str, Any] | None, tab: str
) -> dict[str, Any]:
    """What only this tab shows."""
    project = version.dataset.project
    match tab:
        case "overview" | "lineage":
            found = graph(actor, project, *key_of(version), depth=DEPTH)
            context = {"graph": found, "steps": strip_of(found, project.slug), "rows": rows_of(found, project.slug)}
            columns = shown.columns_of(version, report)
            return context | {"columns": columns, "limit": shown.COLUMNS_SHOWN, "params": flat(version.params or {})}
        case "preview":
            return {"preview": reads.preview(actor, version)}
        case "quality":
            before = shown.report_of(actor, parent)
            return {
                "before": before,
                "before_total": shown.total_of(before),
                "pairs": shown.compared(before, report),
                "charts": shown.charts_of(before, report),
            }
        case "audit":
            return {"events": timeline(actor, "datasetversion", version.pk)}
    return {}


def key_of(version: DatasetVersion) -> tuple[str, str]:
    end = end_of(version)
    return end.type, end.id


@require_safe
def by_id(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """A version by its key, as lineage knows it, at its address for people."""
    actor, where = within(request, project)
    policy.require(actor, "dataset.view", where)
    visible = DatasetVersion.objects.visible_to(actor).select_related("dataset").defer("manifest")
    found = visible.filter(pk=pk, dataset__project=where).first() if pk < 2**63 else None
    if found is None:
        raise NotFound(f"This project has no dataset version with the key {pk}.", field="id")
    return redirect("datasets:version", project=where.slug, name=found.dataset.name, version=found.number)
