"""What the frame around every page shows: projects, lamps, how much waits for the reader. Always as many queries."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DatabaseError
from django.db.models import Exists, Subquery
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.platform.accounts.models import Project
from apps.platform.accounts.passwords import needs_new_password
from apps.platform.accounts.projects import get_visible_projects
from apps.platform.audit.models import AuditRecord, ChainHead, Result
from apps.platform.audit.verification import ALARM_SECONDS
from apps.platform.emergency.models import EmergencyGrant
from apps.platform.nodes.models import Node
from apps.site.isolation.presenters import STATES
from apps.site.isolation.queries import MAX_NODES, Proof, get_proof
from apps.web import network_routes
from apps.web.action_items import count_waiting
from apps.web.help.topics import find_topic

log = logging.getLogger(__name__)
LAST_PROJECT = "project"  # the key in the session
IN_A_PROJECT = {
    "approvals": ("approvals:list", "approval.view"),
    "data": ("datasets:list", "dataset.view"),
    "jobs": ("jobs:list", "job.view"),
    "experiments": ("experiments:experiments", "run.view"),
    "runs": ("experiments:list", "run.view"),
    "models": ("registry:list", "model.view"),
    "endpoints": ("endpoints:list", "endpoint.view"),
    "monitoring": ("monitoring:list", "monitor.view"),
    "devices": ("devices:list", "device.view"),
    "rollouts": ("rollouts:list", "rollout.view"),
}
"""Section of a project -> the name of its address, and the action that it takes."""
OF_THE_PLANE = {
    "nodes": "node.view",
    "schedules": "schedule.view_plane",
    "packages": "package.view",
    "people": "user.view",
}


def build_frame(request: HttpRequest) -> dict[str, Any]:
    """`projects`, `rail_urls`, `lamps`, `waits_for_me`, `unread_notices`.

    Empty for strangers, and when the database does not answer.
    """
    actor: Actor | None = getattr(request, "actor", None)
    if actor is None or actor.user_id is None or needs_new_password(request.user):
        return {}
    if getattr(request, "factor_missing", False) or is_part(request) or getattr(request, "without_frame", False):
        return {}
    if hasattr(request, "plane_frame"):
        return request.plane_frame  # type: ignore[no-any-return]
    try:
        projects = get_visible_projects(request)
        head = read_chain_head(actor)
        waiting, unread = count_waiting(actor, is_chain_broken=head.result == Result.FAILED)
        facts: dict[str, Any] = {
            "projects": projects,
            "rail_urls": build_rail_urls(request, actor, projects),
            "rail_hidden": list_hidden_sections(request, actor),
            "lamps": build_lamps(actor, head, getattr(request, "node_states", None)),
            "emergencies": list_emergencies(actor) if head.has_emergency else (),
            "waits_for_me": waiting,
            "unread_notices": unread,
            "notices_url": reverse("inbox:list"),
            "search_url": reverse("search"),
            "help_url": build_help_url(request),
        }
    except DatabaseError as failure:  # the page of that error is drawn in this frame
        log.warning("the frame is drawn without its facts: %s", failure)
        return {}
    request.plane_frame = facts  # type: ignore[attr-defined]  # a fragment in a page must not ask again
    return facts


def build_help_url(request: HttpRequest) -> str:
    """The topic of the manual about this page, else its index."""
    topic = find_topic(request.resolver_match)
    return reverse("help_topic", args=[topic.key]) if topic else reverse("help")


def is_part(request: HttpRequest) -> bool:
    """An open page asks for a part of itself: the frame around it stays as it is."""
    return "X-Plane-Poll" in request.headers or (
        "HX-Request" in request.headers and "HX-Boosted" not in request.headers
    )


def build_rail_urls(request: HttpRequest, actor: Actor, projects: list[Project]) -> dict[str, str]:
    """Where the sections of a project lead outside of one: into the one seen last, else the first of one's own."""
    current = getattr(request, "project", None)
    if current is not None:
        if actor.user_id and current.pk in actor.project_ids and request.session.get(LAST_PROJECT) != current.slug:
            request.session[LAST_PROJECT] = current.slug
        slug = current.slug if current.pk in actor.project_ids else None
    else:
        own = [project.slug for project in projects if project.pk in actor.project_ids]
        last = request.session.get(LAST_PROJECT)
        slug = last if last in own else next(iter(own), None)
    if slug is None:
        return {}
    return {key: url for key, (name, _action) in IN_A_PROJECT.items() if (url := find_url(name, slug))}


def list_hidden_sections(request: HttpRequest, actor: Actor) -> set[str]:
    """Sections that this person may not open: a link to a refusal is no help."""
    current = getattr(request, "project", None)
    hidden = {key for key, action in OF_THE_PLANE.items() if not is_allowed(actor, action)}
    if not (actor.project_ids or is_allowed(actor, "audit.view")):
        hidden.add("audit")
    if current is not None:
        hidden |= {key for key, (_name, action) in IN_A_PROJECT.items() if not is_allowed(actor, action, current)}
    return hidden


def find_url(name: str, *args: Any) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


def build_lamps(actor: Actor, head: ChainHeadFacts, node_states: list[str] | None) -> list[dict[str, str]]:
    """Isolated, the chain of the audit trail, and the nodes where the reader may see them."""
    proof = get_proof(actor) if is_allowed(actor, "isolation.view") else None
    isolation = build_probe_lamp(proof) if proof else build_isolation_lamp()
    if isolation["state"] == "held" and not is_allowed(actor, "isolation.view"):
        isolation["state"] = "note"  # a fact: nobody else can do anything about it
    states = [isolation, build_chain_lamp(actor, head)]
    if is_allowed(actor, "node.view"):
        if node_states is None and proof and len(proof.nodes) < MAX_NODES:
            node_states = [node.availability for node in proof.nodes]
        states.append(build_nodes_lamp(actor, node_states))
    return states


def build_isolation_lamp() -> dict[str, str]:
    """Whether this host knows a way out; read from its own tables, nothing is sent."""
    snapshot = network_routes.get_snapshot()
    checked_at = {"time": f"{timezone.localtime(snapshot.at):%H:%M}"}
    url = reverse("isolation")
    if snapshot.unknown:
        return {"state": "note", "label": _("Isolation not known"), "text": snapshot.unknown, "url": url}
    if snapshot.ways_out:
        text = _("this host, checked %(time)s") % checked_at
        return {"state": "held", "label": _("Default route present"), "text": text, "url": url}
    text = _("no route out of this host, checked %(time)s") % checked_at
    return {"state": "succeeded", "label": _("Isolated"), "text": text, "url": url}


def build_probe_lamp(proof: Proof) -> dict[str, str]:
    """What the last probes of the nodes prove, for those who can act on it."""
    at = {"time": f"{timezone.localtime(proof.at):%Y-%m-%d %H:%M}"} if proof.at else {"time": _("never")}
    passed = proof.list_names("passed")
    text = _("oldest probe %(time)s") % at
    if passed:
        text = _("came through on %(nodes)s") % {"nodes": ", ".join(passed[:3])}
    labels = {"refused": _("Isolated"), "passed": _("Not isolated")}
    label = labels.get(proof.status, _("Isolation not proven"))
    return {"state": STATES[proof.status], "label": label, "text": text, "url": reverse("isolation_nodes:overview")}


class ChainHeadFacts(NamedTuple):
    """What every page shows of the trail, and whether an emergency grant is in force that the reader may see."""

    seq: int = 0
    result: str | None = None
    unsealed_at: datetime | None = None
    has_emergency: bool = False


def read_chain_head(actor: Actor) -> ChainHeadFacts:
    """One query: every page of everybody pays for it."""
    verified = AuditRecord.objects.filter(action="audit.verify", result__in=(Result.DONE, Result.FAILED))
    last = Subquery(verified.order_by("-id").values("result")[:1])
    oldest = Subquery(AuditRecord.objects.filter(seq__isnull=True).order_by("id").values("at")[:1])
    emergency = Exists(EmergencyGrant.objects.visible_to(actor).in_force())
    head = ChainHead.objects.filter(pk=1).values_list("seq", last, oldest, emergency)
    return ChainHeadFacts(*(head.first() or ()))


def list_emergencies(actor: Actor) -> list[EmergencyGrant]:
    """The grants in force, for the banner of every page."""
    return list(EmergencyGrant.objects.visible_to(actor).in_force().select_related("user", "project").order_by("pk"))


def build_chain_lamp(actor: Actor, head: ChainHeadFacts) -> dict[str, str]:
    """As last verified, never verified here: that walks the whole trail. A hash that is late is said first."""
    seq, result, unsealed_at, _has_emergency = head
    record = _("record %(number)s") % {"number": f"{seq:,}"}
    may_read = actor.project_ids or is_allowed(actor, "audit.view")
    more = {"text": record, "url": reverse("audit:list") if may_read else ""}
    if result == Result.FAILED:
        return {"state": "failed", "label": _("Audit chain broken"), **more}
    if unsealed_at and (timezone.now() - unsealed_at).total_seconds() > ALARM_SECONDS:
        return {"state": "held", "label": _("Audit chain: hash is late"), **more}
    if result is None:
        return {"state": "note", "label": _("Audit chain not yet verified"), **more}
    return {"state": "succeeded", "label": _("Audit chain verified"), **more}


def build_nodes_lamp(actor: Actor, states: list[str] | None) -> dict[str, str]:
    """`states`: of all nodes, where the page has read them itself."""
    if states is None:
        states = list(Node.objects.visible_to(actor).with_status().values_list("status", flat=True))
    online, total = states.count("online"), len(states)
    text = ngettext("%(online)d of %(total)d node online", "%(online)d of %(total)d nodes online", total)
    state = "held" if online < total else "succeeded"
    if not online:
        state = "failed" if total else "note"
    summary = text % {"online": online, "total": total}
    return {"state": state, "label": _("Nodes"), "text": summary, "url": reverse("nodes:list")}
