"""What the pages of errors offer besides the error: where to look instead, who can help, the way back.

Nothing here may fail, and a page about a database that is away asks it nothing.
"""

from __future__ import annotations

import difflib
import logging
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from django.db import DatabaseError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor, SystemRole
from apps.data.datasets.models import Dataset
from apps.ml.registry.models import Model
from apps.platform.accounts.models import Project, User

log = logging.getLogger(__name__)
IN_PROJECT = re.compile(r"^/p/(?P<slug>[^/]+)(?:/(?P<section>[^/]+)(?:/(?P<name>[^/]+))?)?")
ON_PLANE = re.compile(r"^/(?P<section>[^/]+)(?:/(?P<name>[^/]+))?")
# Section of an address -> what it holds, and the list of that with its name
KINDS: dict[str, tuple[Any, Any, str]] = {
    "jobs": (gettext_lazy("job"), gettext_lazy("Jobs"), "jobs:list"),
    "pipelines": (gettext_lazy("pipeline"), gettext_lazy("Pipelines"), "pipelines:list"),
    "sweeps": (gettext_lazy("sweep"), gettext_lazy("Sweeps"), "sweeps:list"),
    "endpoints": (gettext_lazy("endpoint"), gettext_lazy("Endpoints"), "endpoints:list"),
    "runs": (gettext_lazy("run"), gettext_lazy("Runs"), "experiments:list"),
    "reruns": (gettext_lazy("rerun"), gettext_lazy("Runs"), "experiments:list"),
    "data": (gettext_lazy("dataset"), gettext_lazy("Data"), "datasets:list"),
    "datasets": (gettext_lazy("dataset"), gettext_lazy("Data"), "datasets:list"),
    "versions": (gettext_lazy("dataset version"), gettext_lazy("Data"), "datasets:list"),
    "models": (gettext_lazy("model"), gettext_lazy("Models"), "registry:list"),
    "model-versions": (gettext_lazy("model version"), gettext_lazy("Models"), "registry:list"),
    "variants": (gettext_lazy("model version"), gettext_lazy("Models"), "registry:list"),
    "approvals": (gettext_lazy("approval"), gettext_lazy("Approvals"), "approvals:list"),
}
TABLES_BY_SECTION = {"data": (Dataset, "datasets:dataset"), "models": (Model, "registry:model")}
MAX_NAMES_READ, MAX_SIMILAR, MAX_GIVERS = 500, 5, 5
PAGING_PARAMS = ("cursor", "limit")  # of a query: where one is in a list


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    label: str
    url: str


@dataclass(slots=True, kw_only=True)
class ErrorHelp:
    """Empty where there is nothing to say."""

    kind: str = ""  # what kind of thing was not found
    name: str = ""
    links: list[Link] = field(default_factory=list)  # the list, the search
    similar: list[Link] = field(default_factory=list)
    back: str = ""  # the page it was asked from
    first: str = ""  # the first page of the list whose place is not known
    have: str = ""  # the roles of the reader
    givers: list[str] = field(default_factory=list)  # who gives roles


def build_help(request: HttpRequest, status: int, field: str = "") -> ErrorHelp:
    """Whatever helps with this status; at most three queries, none for a fault of the plane's own.

    `field`: what the error names.
    """
    advice = ErrorHelp(
        back=find_previous_page(request), first=build_first_page_url(request) if field in PAGING_PARAMS else ""
    )
    actor: Actor | None = getattr(request, "actor", None)
    if actor is None or actor.user_id is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return advice
    try:
        if status == HTTPStatus.NOT_FOUND:
            suggest_alternatives(request, actor, advice)
        elif status == HTTPStatus.METHOD_NOT_ALLOWED:
            add_list_link(request, actor, advice)
        elif status == HTTPStatus.FORBIDDEN:
            add_role_givers(request, actor, advice)
    except DatabaseError as failure:
        log.warning("the page of error %s goes without help: %s", status, failure)
    return advice


def find_previous_page(request: HttpRequest) -> str:
    """The page of this site that the reader came from; "" for a reload of the very address that failed."""
    page = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure()):
        return ""
    parts = urlsplit(page)
    if parts.path.startswith("//"):  # alone, that would be another host
        return ""
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return "" if path == request.get_full_path() and request.method == "GET" else path


def build_first_page_url(request: HttpRequest) -> str:
    """The same list, narrowed and ordered as it was, from its beginning; "" for what is no page of a list."""
    if request.method != "GET" or not any(name in request.GET for name in PAGING_PARAMS):
        return ""
    pairs = [(key, value) for key, values in request.GET.lists() if key not in PAGING_PARAMS for value in values]
    return f"{request.path}?{urlencode(pairs) if pairs else 'view=all'}"  # bare, it would open with a default view


# -- not found ------------------------------------------------------------------------------------------------------
def suggest_alternatives(request: HttpRequest, actor: Actor, advice: ErrorHelp) -> None:
    in_project = IN_PROJECT.match(request.path_info)
    match = in_project or ON_PLANE.match(request.path_info)
    if match is None:
        return
    section, advice.name = match["section"] or "", (match["name"] or "")[:80]
    if in_project:
        project = Project.objects.visible_to(actor).filter(slug=in_project["slug"]).first()
        if project is None:
            suggest_projects(actor, in_project["slug"], advice)
        elif section in KINDS:
            suggest_names(actor, project, section, advice)
    words = advice.name or section
    if words:
        url = f"{reverse('search')}?{urlencode({'q': words, 'all': '1'})}"
        advice.links.append(Link(label=_("Search for “%(words)s”") % {"words": words[:40]}, url=url))


def add_list_link(request: HttpRequest, actor: Actor, advice: ErrorHelp) -> None:
    """Beside the address of a form: the list of what it acts on."""
    match = IN_PROJECT.match(request.path_info)
    project = Project.objects.visible_to(actor).filter(slug=match["slug"]).first() if match else None
    if match and project and match["section"] in KINDS and project.pk in actor.project_ids:
        advice.links.append(build_list_link(project, match["section"]))


def build_list_link(project: Project, section: str) -> Link:
    _kind, all_of_them, listed = KINDS[section]
    text = _("%(list)s in %(project)s") % {"list": all_of_them, "project": project.slug}
    return Link(label=text, url=reverse(listed, args=[project.slug]))


def suggest_projects(actor: Actor, slug: str, advice: ErrorHelp) -> None:
    slugs = list(Project.objects.visible_to(actor).order_by("-pk").values_list("slug", flat=True)[:MAX_NAMES_READ])
    advice.kind, advice.name = _("project"), slug[:80]
    advice.similar = [Link(label=name, url=reverse("project_home", args=[name])) for name in find_similar(slug, slugs)]


def suggest_names(actor: Actor, project: Project, section: str, advice: ErrorHelp) -> None:
    advice.kind = str(KINDS[section][0])
    if project.pk in actor.project_ids:
        advice.links.append(build_list_link(project, section))
    if section in TABLES_BY_SECTION and advice.name:
        table, page = TABLES_BY_SECTION[section]
        rows = table.objects.visible_to(actor).filter(project=project).order_by("-pk")  # type: ignore[attr-defined]
        names = find_similar(advice.name, list(rows.values_list("name", flat=True)[:MAX_NAMES_READ]))
        advice.similar = [Link(label=name, url=reverse(page, args=[project.slug, name])) for name in names]


def find_similar(name: str, names: list[str]) -> list[str]:
    """The names most like this one, the likest first."""
    holding = [candidate for candidate in names if name and (name.lower() in candidate or candidate in name.lower())]
    close = difflib.get_close_matches(name.lower(), names, n=MAX_SIMILAR, cutoff=0.6)
    return list(dict.fromkeys([*close, *holding]))[:MAX_SIMILAR]


# -- not allowed ----------------------------------------------------------------------------------------------------
def add_role_givers(request: HttpRequest, actor: Actor, advice: ErrorHelp) -> None:
    project: Project | None = getattr(request, "project", None)
    match = IN_PROJECT.match(request.path_info)
    if project is None and match is not None:
        project = Project.objects.visible_to(actor).filter(slug=match["slug"]).first()
    roles_held = [str(actor.system_role)] if actor.system_role else []
    anywhere = [role for roles in actor.project_roles.values() for role in roles]
    roles_held += sorted({role.value for role in (actor.get_roles_in(project.pk) if project else anywhere)})
    advice.have = ", ".join(roles_held)
    givers = User.objects.filter(system_role=SystemRole.SECURITY_ADMIN, is_active=True).order_by("username")
    advice.givers = list(givers.values_list("username", flat=True)[:MAX_GIVERS])
