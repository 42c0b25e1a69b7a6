"""The page of releases: what devices may install, and the form that issues one."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound, StaleState
from apps.core.lists.listing import Column, Listing, build_table, mark_list_view, read_filter_values
from apps.core.messages import translate_message
from apps.core.policy import is_allowed, require
from apps.fleet.releases import queries, services
from apps.fleet.releases.forms import ReleaseForm, SamplesForm
from apps.fleet.releases.models import Release
from apps.fleet.releases.provenance_status import check_provenance
from apps.fleet.releases.states import ReleaseState
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list
from deepseek.messages import N_

RELEASES = Listing(
    "releases",
    (
        Column("release", pgettext_lazy("signed", "Release"), lambda release: str(release)),
        Column("state", gettext_lazy("State"), lambda release: release.state),
        Column("variant", gettext_lazy("Variant"), lambda release: str(release.variant)),
        Column("architecture", gettext_lazy("Architecture"), lambda release: release.architecture),
        Column("digest", gettext_lazy("Digest"), lambda release: release.payload_digest),
        Column("provenance", gettext_lazy("Provenance"), lambda release: check_provenance(release).verdict),
        Column("by", gettext_lazy("By"), lambda release: release.created_by),
        Column("made", gettext_lazy("Created"), lambda release: release.created_at, ("id",), down=True),
    ),
    sort="-made",
)


@mark_list_view(RELEASES.key)
@require_http_methods(["GET", "HEAD", "POST"])
def show_releases(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/releases: the newest first; a POST issues one."""
    actor, where = get_project_context(request, project)
    if request.method != "POST":
        return render_releases(request, actor, where)
    require(actor, "release.issue", where)
    form = ReleaseForm(actor, where, request.POST)
    release = form.save()
    if release is None:
        return render_releases(request, actor, where, form=form, status=422)
    messages.success(request, _("%(release)s is issued. Assign it to devices.") % {"release": release})
    return redirect("releases:list", project=where.slug)


@require_POST
def make_samples(request: HttpRequest, project: str) -> HttpResponseBase:
    """Queue the job that makes the samples of a variant, and go to it."""
    actor, where = get_project_context(request, project)
    require(actor, "release.prepare", where)
    form = SamplesForm(actor, where, request.POST)
    job = form.save()
    if job is None:
        return render_releases(request, actor, where, samples_form=form, status=422)
    return redirect("jobs:detail", project=where.slug, pk=job.pk)


@require_safe
def download_provenance(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """The signed provenance of the release's variant, as devices get it."""
    actor, where = get_project_context(request, project)
    release = queries.get_release(actor, where, pk)
    if not release.provenance:
        raise NotFound("Release {pk} has no provenance.", pk=pk, field="release", hint=N_("Issue the variant again."))
    name = f"{release.model_name}-{release.sequence}-provenance.json"
    return HttpResponse(
        release.provenance,
        content_type="application/json",
        headers={"Content-Disposition": content_disposition_header(True, name) or "attachment"},
    )


@require_POST
def revoke(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    release = queries.get_release(actor, where, pk)
    try:
        services.revoke_release(actor=actor, release=release, reason=request.POST.get("reason", "").strip())
    except (Invalid, StaleState) as error:
        messages.warning(request, translate_message(error))
    else:
        messages.success(request, _("%(release)s is revoked.") % {"release": release})
    return redirect("releases:list", project=where.slug)


def render_releases(
    request: HttpRequest,
    actor: Actor,
    where: Project,
    *,
    form: ReleaseForm | None = None,
    samples_form: SamplesForm | None = None,
    status: int = 200,
) -> HttpResponseBase:
    filters = read_filter_values(request.GET, queries.FILTERS)
    states = [("", _("Every state")), *((value, str(word)) for value, word in ReleaseState.choices)]
    table = build_table(
        RELEASES,
        request.GET,
        lambda: queries.list_releases(actor, where, **filters),
        filters=[
            {"name": "model", "label": _("Model"), "value": filters["model"]},
            {"name": "state", "label": _("State"), "value": filters["state"], "choices": states},
            {"name": "architecture", "label": _("Architecture"), "value": filters["architecture"]},
        ],
        transform_rows=add_provenance,
    )
    if request.method != "POST" and request.GET.get("format") == "csv":
        return export_list(actor, table, project=where)
    may_issue = is_allowed(actor, "release.issue", where)
    context = {
        **table.build_context(),
        "nav": "devices",
        "may_issue": may_issue,
        "may_prepare": is_allowed(actor, "release.prepare", where),
        "may_revoke": is_allowed(actor, "release.revoke", where),
        "form": form or ReleaseForm(actor, where),
        "samples_form": samples_form or SamplesForm(actor, where),
    }
    return render(request, "releases/list.html", context, status=status if status != 200 else table.status)


def add_provenance(releases: Iterable[Release]) -> list[Release]:
    """Each release with the verdict on its provenance."""
    rows = list(releases)
    for release in rows:
        release.provenance_status = check_provenance(release)  # type: ignore[attr-defined]
    return rows
