"""Pages of datasets: the upload form, and a version with its tabs. Lists are in lists.py."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core import policy
from apps.core.errors import NotFound, PlaneError, Refused
from apps.core.policy import is_allowed
from apps.data.datasets import presenters, queries, services, version_tabs
from apps.data.datasets.forms import DatasetForm, UploadForm
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.quality.profile_job_retention import find_running_profile_job
from apps.data.datasets.rows.samples import has_samples
from apps.data.datasets.versions.manifest import is_table
from apps.platform.accounts.projects import get_project_context
from apps.platform.jobs.models import Job

SEPARATED = {
    ",": gettext_lazy("comma-separated"),
    ";": gettext_lazy("semicolon-separated"),
    "\t": gettext_lazy("tab-separated"),
    "|": gettext_lazy("separated by bars"),
}
TABS = ("overview", "preview", "samples", "origin", "distributions", "quality", "compare", "files", "lineage", "audit")


# -- writes ---------------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/upload: a table becomes a version; what is wrong with it stands beside its field."""
    actor, in_project = get_project_context(request, project)
    policy.require(actor, "dataset.add_version", in_project)
    form = UploadForm(
        request.POST
        if request.method == "POST"
        else {"dataset": request.GET.get("dataset", "")[:60], "measure": "true"}
    )
    if request.method == "POST" and request.POST.get("op") == "check":
        form.check()
        return render_upload(request, in_project.slug, form, DatasetForm(), status=200)
    if request.method == "POST":
        saved = form.save(actor, in_project, request.FILES.getlist("file"))
        if isinstance(saved, Job):
            messages.info(
                request, _("Job %(number)s checks it: it becomes a version if it holds.") % {"number": saved.pk}
            )
            return redirect("jobs:detail", project=in_project.slug, pk=saved.pk)
        if saved is not None:
            version, is_new = saved
            notify_added(request, version, is_new)
            return redirect(
                "datasets:version", project=in_project.slug, name=version.dataset.name, version=version.number
            )
    return render_upload(request, in_project.slug, form, DatasetForm())


def render_upload(
    request: HttpRequest, slug: str, form: UploadForm, empty_form: DatasetForm, *, status: int | None = None
) -> HttpResponse:
    """The page; 422 where something is wrong, but for a look at the fields while they are filled in."""
    terminal = upload_command(request, slug, "NAME")
    context = {"nav": "data", "form": form, "empty_form": empty_form, "terminal": terminal}
    wrong = form.errors or form.error or empty_form.errors or empty_form.error
    return render(request, "datasets/upload.html", context, status=status or (422 if wrong else 200))


def upload_command(request: HttpRequest, slug: str, name: str) -> str:
    """The upload from a terminal; the file is streamed."""
    url = request.build_absolute_uri(reverse("api-dataset-versions", args=[slug, name]))
    parts = ("curl -X POST -T table.csv", '-H "Authorization: Bearer $TOKEN"', '-H "Content-Type: text/csv"', url)
    return " \\\n  ".join(parts)


def notify_added(request: HttpRequest, version: DatasetVersion, is_new: bool) -> None:
    if is_new and version.parts:
        params = {"version": str(version), "rows": f"{version.rows or 0:,}", "parts": f"{version.parts:,}"}
        messages.success(request, _("Created %(version)s: %(rows)s rows in %(parts)s parts.") % params)
    elif is_new:
        delimiter = str(version.params.get("delimiter"))
        params = {
            "version": str(version),
            "rows": f"{version.rows or 0:,}",
            "encoding": str(version.params.get("encoding")).upper(),
            "separated": str(SEPARATED.get(delimiter, repr(delimiter))),
        }
        messages.success(request, _("Created %(version)s: %(rows)s rows (%(encoding)s, %(separated)s).") % params)
    else:
        messages.info(request, _("These bytes are %(version)s already: nothing was added.") % {"version": str(version)})


@require_POST
def create(request: HttpRequest, project: str) -> HttpResponse:
    """Create a dataset without versions, for jobs to register in."""
    actor, in_project = get_project_context(request, project)
    form = DatasetForm(request.POST)
    name, description = form.values["dataset"].strip(), form.values["description"].strip()
    try:
        dataset = services.create_dataset(actor=actor, project=in_project, name=name, description=description)
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        form.refuse(failure)
        return render_upload(request, in_project.slug, UploadForm(), form)
    messages.success(request, _("The dataset %(name)s is there, without versions yet.") % {"name": dataset.name})
    return redirect("datasets:dataset", project=in_project.slug, name=dataset.name)


# -- one version ----------------------------------------------------------------------------------------------------
@require_safe
def show_version(request: HttpRequest, project: str, name: str, version: str, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/data/<name>/<number or digest>[/<tab>]"""
    actor, in_project = get_project_context(request, project)
    dataset_version = queries.get_version(actor, in_project, name, version)
    producer, parent = presenters.find_parent(dataset_version)
    verdicts, total = presenters.get_cached_verdicts(actor, dataset_version, parent)
    files = queries.list_files(actor, dataset_version, queries.MAX_FILES_SEARCHED + 1)
    count, damaged = len(files), sum(file.artifact.damaged_at is not None for file in files)
    if count > queries.MAX_FILES_SEARCHED:
        count, damaged = dataset_version.files.count(), dataset_version.files.exclude(artifact__damaged_at=None).count()
    users = queries.list_consumer_jobs(actor, dataset_version, files)
    context: dict[str, Any] = {
        "nav": "data",
        "version": dataset_version,
        "dataset": dataset_version.dataset,
        "tab": tab,
        "taker": producer,
        "job": producer.job if producer else None,
        "parent": parent,
        "users": users,
        "many_users": len(users) > queries.MAX_CONSUMERS,
        "files": files,
        "files_count": count,
        "damaged": damaged,
        "tags": dataset_version.tags.order_by("name"),
        "verdicts": verdicts,
        "total": total,
        "measuring": find_running_profile_job(dataset_version),
        "is_table": is_table(dataset_version.media_type),
        "has_samples": has_samples(dataset_version, files),
        "may_submit": is_allowed(actor, "job.submit", in_project),
        "may_add": is_allowed(actor, "dataset.add_version", in_project),
        "may_tag": is_allowed(actor, "dataset.tag", in_project),
        "may_delete": is_allowed(actor, "dataset.delete_version", in_project),
    }
    context |= version_tabs.build_tab_context(actor, dataset_version, parent, tab, request.GET)
    return render(request, f"datasets/{tab}.html", context)


@require_safe
def redirect_to_version(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """Redirect from a version's primary key, which lineage uses, to its page."""
    actor, in_project = get_project_context(request, project)
    policy.require(actor, "dataset.view", in_project)
    visible = DatasetVersion.objects.visible_to(actor).select_related("dataset").defer("manifest")
    dataset_version = visible.filter(pk=pk, dataset__project=in_project).first() if pk < 2**63 else None
    if dataset_version is None:
        raise NotFound("This project has no dataset version with the key {pk}.", pk=pk, field="id")
    return redirect(
        "datasets:version", project=in_project.slug, name=dataset_version.dataset.name, version=dataset_version.number
    )
