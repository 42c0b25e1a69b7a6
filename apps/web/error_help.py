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
NAMED = {"data": (Dataset, "datasets:dataset"), "models": (Model, "registry:model")}
NAMES_READ, SIMILAR, GIVERS = 500, 5, 5
PLACE = ("cursor", "limit")  # of a query: where one is in a list


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    label: str
    url: str


@dataclass(slots=True, kw_only=True)
class Help:
    """Empty where there is nothing to say."""

    kind: str = ""  # what kind of thing was not found
    name: str = ""
    links: list[Link] = field(default_factory=list)  # the list, the search
    similar: list[Link] = field(default_factory=list)
    back: str = ""  # the page it was asked from
    first: str = ""  # the first page of the list whose place is not known
    have: str = ""  # the roles of the reader
    givers: list[str] = field(default_factory=list)  # who gives roles


def help_for(request: HttpRequest, status: int, field: str = "") -> Help:
    """Whatever helps with this status; at most three queries, none for a fault of the plane's own.

    `field`: what the error names.
    """
    found = Help(back=came_from(request), first=first_page(request) if field in PLACE else "")
    actor: Actor | None = getattr(request, "actor", None)
    if actor is None or actor.user_id is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return found
    try:
        if status == HTTPStatus.NOT_FOUND:
            look_elsewhere(request, actor, found)
        elif status == HTTPStatus.METHOD_NOT_ALLOWED:
            name_the_list(request, actor, found)
        elif status == HTTPStatus.FORBIDDEN:
            say_who_gives(request, actor, found)
    except DatabaseError as failure:
        log.warning("the page of error %s goes without help: %s", status, failure)
    return found


def came_from(request: HttpRequest) -> str:
    """The page of this site that the reader came from; "" for a reload of the very address that failed."""
    page = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure()):
        return ""
    parts = urlsplit(page)
    if parts.path.startswith("//"):  # alone, that would be another host
        return ""
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return "" if path == request.get_full_path() and request.method == "GET" else path


def first_page(request: HttpRequest) -> str:
    """The same list, narrowed and ordered as it was, from its beginning; "" for what is no page of a list."""
    if request.method != "GET" or not any(name in request.GET for name in PLACE):
        return ""
    pairs = [(key, value) for key, values in request.GET.lists() if key not in PLACE for value in values]
    return f"{request.path}?{urlencode(pairs) if pairs else 'view=all'}"  # bare, it would open with a default view


# -- not found ------------------------------------------------------------------------------------------------------
def look_elsewhere(request: HttpRequest, actor: Actor, found: Help) -> None:
    in_project = IN_PROJECT.match(request.path_info)
    at = in_project or ON_PLANE.match(request.path_info)
    if at is None:
        return
    section, found.name = at["section"] or "", (at["name"] or "")[:80]
    if in_project:
        project = Project.objects.visible_to(actor).filter(slug=in_project["slug"]).first()
        if project is None:
            another_project(actor, in_project["slug"], found)
        elif section in KINDS:
            another_of_its_kind(actor, project, section, found)
    words = found.name or section
    if words:
        where = f"{reverse('search')}?{urlencode({'q': words, 'all': '1'})}"
        found.links.append(Link(label=_("Search for “%(words)s”") % {"words": words[:40]}, url=where))


def name_the_list(request: HttpRequest, actor: Actor, found: Help) -> None:
    """Beside the address of a form: the list of what it acts on."""
    at = IN_PROJECT.match(request.path_info)
    project = Project.objects.visible_to(actor).filter(slug=at["slug"]).first() if at else None
    if at and project and at["section"] in KINDS and project.pk in actor.project_ids:
        found.links.append(list_of(project, at["section"]))


def list_of(project: Project, section: str) -> Link:
    _kind, all_of_them, listed = KINDS[section]
    text = _("%(list)s in %(project)s") % {"list": all_of_them, "project": project.slug}
    return Link(label=text, url=reverse(listed, args=[project.slug]))


def another_project(actor: Actor, slug: str, found: Help) -> None:
    slugs = list(Project.objects.visible_to(actor).order_by("-pk").values_list("slug", flat=True)[:NAMES_READ])
    found.kind, found.name = _("project"), slug[:80]
    found.similar = [Link(label=each, url=reverse("project_home", args=[each])) for each in alike(slug, slugs)]


def another_of_its_kind(actor: Actor, project: Project, section: str, found: Help) -> None:
    found.kind = str(KINDS[section][0])
    if project.pk in actor.project_ids:
        found.links.append(list_of(project, section))
    if section in NAMED and found.name:
        table, page = NAMED[section]
        rows = table.objects.visible_to(actor).filter(project=project).order_by("-pk")  # type: ignore[attr-defined]
        names = alike(found.name, list(rows.values_list("name", flat=True)[:NAMES_READ]))
        found.similar = [Link(label=name, url=reverse(page, args=[project.slug, name])) for name in names]


def alike(name: str, names: list[str]) -> list[str]:
    """The names most like this one, the likest first."""
    holding = [each for each in names if name and (name.lower() in each or each in name.lower())]
    close = difflib.get_close_matches(name.lower(), names, n=SIMILAR, cutoff=0.6)
    return list(dict.fromkeys([*close, *holding]))[:SIMILAR]


# -- not allowed ----------------------------------------------------------------------------------------------------
def say_who_gives(request: HttpRequest, actor: Actor, found: Help) -> None:
    project: Project | None = getattr(request, "project", None)
    at = IN_PROJECT.match(request.path_info)
    if project is None and at is not None:
        project = Project.objects.visible_to(actor).filter(slug=at["slug"]).first()
    held = [str(actor.system_role)] if actor.system_role else []
    anywhere = [role for roles in actor.project_roles.values() for role in roles]
    held += sorted({role.value for role in (actor.get_roles_in(project.pk) if project else anywhere)})
    found.have = ", ".join(held)
    givers = User.objects.filter(system_role=SystemRole.SECURITY_ADMIN, is_active=True).order_by("username")
    found.givers = list(givers.values_list("username", flat=True)[:GIVERS])
