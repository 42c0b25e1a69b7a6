"""Pages of the package index: what it holds, and one package with its versions."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.lists.listing import mark_list_view
from apps.core.messages import translate_error
from apps.core.policy import is_allowed
from apps.platform.audit.list_export import export_list
from apps.platform.audit.queries import get_timeline
from apps.site.mirror import queries, services
from apps.site.mirror.images.export import export_image
from apps.site.mirror.images.queries import get_image, list_node_uses, list_users_of
from apps.site.mirror.lists import IMAGES, PACKAGES, build_images_table, build_packages_table


@mark_list_view(PACKAGES.key)
@require_safe
def show_packages(request: HttpRequest) -> HttpResponseBase:
    """/packages: every package of the index."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    table = build_packages_table(actor, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    context = {**table.build_context(), "nav": "packages", "feed": queries.get_feed()}
    return render(request, "mirror/packages.html", context, status=table.status)


@require_safe
def show_package(request: HttpRequest, name: str) -> HttpResponseBase:
    """/packages/<name>: its versions with files, digests and advisories, and what uses it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    package = queries.get_package(actor, name)
    limit = queries.MAX_ALL_VERSIONS if request.GET.get("versions") == "all" else queries.MAX_VERSIONS
    context = {
        "nav": "packages",
        "package": package,
        "versions": queries.list_versions(package, limit),
        "is_cut": package.version_count > limit,
        "has_more": package.version_count > limit and limit < queries.MAX_ALL_VERSIONS,
        "fits_on_page": package.version_count <= queries.MAX_ALL_VERSIONS,
        "dependents": queries.list_dependents(package),
        "runs": queries.list_run_uses(actor, package),
        "runs_looked_at": queries.MAX_RUNS,
        "feed": queries.get_feed(),
        "events": get_timeline(actor, "package", package.pk),
        "may_read_trail": is_allowed(actor, "audit.view"),
        "may_yank": is_allowed(actor, "package.yank", package),
        "index_url": request.build_absolute_uri("/simple"),
    }
    return render(request, "mirror/package.html", context)


@require_POST
def yank(request: HttpRequest, name: str, version: str) -> HttpResponseRedirect:
    """Withdraw a version for a reason, and go back to the package."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    row = queries.get_package_version(actor, name, version)
    try:
        services.yank_version(actor=actor, version=row, reason=request.POST.get("reason", ""))
    except (Conflict, Invalid) as error:
        messages.warning(request, translate_error(error))
    else:
        messages.success(request, _("%(version)s is yanked: installers no longer choose it.") % {"version": row})
    return redirect("packages:detail", name=row.package.name)


@require_POST
def unyank(request: HttpRequest, name: str, version: str) -> HttpResponseRedirect:
    """Offer a yanked version again, and go back to the package."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    row = queries.get_package_version(actor, name, version)
    try:
        services.unyank_version(actor=actor, version=row)
    except Conflict as error:
        messages.warning(request, translate_error(error))
    else:
        messages.success(request, _("%(version)s is offered again.") % {"version": row})
    return redirect("packages:detail", name=row.package.name)


@mark_list_view(IMAGES.key)
@require_safe
def show_images(request: HttpRequest) -> HttpResponseBase:
    """/images: the container images, by name, with the nodes that use them."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    table = build_images_table(actor, request.GET)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    uses = list_node_uses(actor)
    context = {
        **table.build_context(),
        "rows": [{"tag": tag, "nodes": list_users_of(tag.image, uses)} for tag in table.rows],
        "nav": "packages",
        "host": request.get_host(),
    }
    return render(request, "mirror/images.html", context, status=table.status)


@require_safe
def download_image(request: HttpRequest, digest: str) -> HttpResponseBase:
    """/images/<digest>.tar: what `docker load` takes."""
    image = get_image(request.actor, digest)  # type: ignore[attr-defined]
    headers = {"Content-Disposition": f'attachment; filename="image-{digest[:12]}.tar"'}
    return StreamingHttpResponse(export_image(image), content_type="application/x-tar", headers=headers)
