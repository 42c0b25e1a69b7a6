"""What the frame around every page shows: projects, lamps, how much waits for the reader. Always as many queries."""

from __future__ import annotations

import logging
from typing import Any

from django.db import DatabaseError
from django.db.models import Subquery
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.accounts.models import Project
from apps.actors import Actor
from apps.audit.models import AuditRecord, ChainHead, Result
from apps.audit.verification import unsealed_state
from apps.nodes.models import Node
from apps.policy import allows
from controlplane.waiting import count_waiting

log = logging.getLogger(__name__)
LAST_PROJECT = "project"  # the key in the session
IN_A_PROJECT = {"data": "datasets:list", "jobs": "jobs:list", "runs": "experiments:list", "models": "registry:list"}
MAX_PROJECTS = 100  # of the switcher; a page of projects is a search away


def frame(request: HttpRequest) -> dict[str, Any]:
    """`projects`, `rail_urls`, `lamps`, `waits_for_me`. Empty for strangers, and when the database does not answer."""
    actor: Actor | None = getattr(request, "actor", None)
    if actor is None or actor.user_id is None or getattr(request.user, "must_change_password", False):
        return {}
    if hasattr(request, "plane_frame"):
        return request.plane_frame  # type: ignore[no-any-return]
    try:
        projects = list(Project.objects.visible_to(actor).order_by("slug")[:MAX_PROJECTS])
        found: dict[str, Any] = {
            "projects": projects,
            "rail_urls": rail_urls(request, actor, projects),
            "rail_hidden": rail_hidden(request, actor),
            "lamps": lamps(actor),
            "waits_for_me": count_waiting(actor),
        }
    except DatabaseError as failure:  # the page of that error is drawn in this frame
        log.warning("the frame is drawn without its facts: %s", failure)
        return {}
    request.plane_frame = found  # type: ignore[attr-defined]  # a fragment in a page must not ask again
    return found


def rail_urls(request: HttpRequest, actor: Actor, projects: list[Project]) -> dict[str, str]:
    """Where Data, Jobs, Runs and Models lead outside a project: into the one seen last, else the first of one's own."""
    here = getattr(request, "project", None)
    if here is not None:
        if actor.user_id and here.pk in actor.project_ids and request.session.get(LAST_PROJECT) != here.slug:
            request.session[LAST_PROJECT] = here.slug
        slug = here.slug if here.pk in actor.project_ids else None
    else:
        own = [project.slug for project in projects if project.pk in actor.project_ids]
        last = request.session.get(LAST_PROJECT)
        slug = last if last in own else next(iter(own), None)
    if slug is None:
        return {}
    return {key: url for key, name in IN_A_PROJECT.items() if (url := url_of(name, slug))}


def rail_hidden(request: HttpRequest, actor: Actor) -> set[str]:
    """Sections that this person may not open: a link to a refusal is no help."""
    here = getattr(request, "project", None)
    hidden = set() if allows(actor, "node.view") else {"nodes"}
    if not (actor.project_ids or allows(actor, "audit.view")):
        hidden.add("audit")
    if here is not None and here.pk not in actor.project_ids:
        hidden |= IN_A_PROJECT.keys()
    return hidden


def url_of(name: str, *args: Any) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


def lamps(actor: Actor) -> list[dict[str, str]]:
    """The chain of the audit trail, and the nodes where the reader may see them."""
    shown = [chain_lamp()]
    if allows(actor, "node.view"):
        shown.append(nodes_lamp(actor))
    return shown


def chain_lamp() -> dict[str, str]:
    """As last verified, never verified here: that walks the whole trail. A seal that is late is said first."""
    verified = AuditRecord.objects.filter(action="audit.verify", result__in=(Result.DONE, Result.FAILED))
    last = Subquery(verified.order_by("-id").values("result")[:1])
    seq, result = ChainHead.objects.filter(pk=1).values_list("seq", last).first() or (0, None)
    record = _("record %(number)s") % {"number": f"{seq:,}"}
    if result == Result.FAILED:
        return {"state": "failed", "label": _("Audit chain broken"), "text": record}
    if unsealed_state().alarm:
        return {"state": "held", "label": _("Audit chain: seal is late"), "text": record}
    if result is None:
        return {"state": "note", "label": _("Audit chain not yet verified"), "text": record}
    return {"state": "succeeded", "label": _("Audit chain whole"), "text": record}


def nodes_lamp(actor: Actor) -> dict[str, str]:
    states = list(Node.objects.visible_to(actor).with_status().values_list("status", flat=True))
    online, total = states.count("online"), len(states)
    text = ngettext("%(online)d of %(total)d node online", "%(online)d of %(total)d nodes online", total)
    state = "held" if online < total else "succeeded"
    if not online:
        state = "failed" if total else "note"
    return {"state": state, "label": _("Nodes"), "text": text % {"online": online, "total": total}}
