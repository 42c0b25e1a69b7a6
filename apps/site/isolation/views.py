"""Pages of isolation: what the probes of every node prove, the policy as rendered, its versions, all reports."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.lists.listing import mark_list_view
from apps.core.policy import is_allowed
from apps.platform.audit.list_export import export_list
from apps.site.isolation import presenters, queries, services
from apps.site.isolation.lists import REPORTS, build_reports_table

MAX_VERSIONS = 50  # that the page lists; the audit trail has them all


@require_http_methods(["GET", "HEAD", "POST"])
def show_isolation(request: HttpRequest) -> HttpResponse:
    """/isolation/nodes: the lamp, the nodes behind it, and the policy."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if request.method != "POST":
        return render_page(request, actor)
    sent = {
        name: request.POST.get(name, "")[:100_000] for name in ("networks", "names", "ports", "forwarded", "reason")
    }
    try:
        document = presenters.parse_policy_form(sent)
        version = services.set_policy(actor=actor, document=document, reason=sent["reason"])
    except (Conflict, Invalid) as error:
        return render_page(request, actor, sent, collect_faults(error), error.status)
    messages.success(request, _("Version %(number)d is the policy; nodes apply it next.") % {"number": version.number})
    return redirect("isolation_nodes:overview")


def collect_faults(error: Conflict | Invalid) -> dict[str, str]:
    """The faults by field of the form."""
    faults: dict[str, str] = {}
    for row in getattr(error, "errors", None) or [{"field": error.field, "message": error.message}]:
        parts = str(row.get("field") or "reason").strip("/").split("/")
        name = parts[1] if parts[0] == "policy" and len(parts) > 1 else parts[0]
        faults.setdefault("networks" if name == "policy" else name, row["message"])
    return faults


def render_page(
    request: HttpRequest,
    actor: Actor,
    sent: dict[str, str] | None = None,
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    proof = queries.get_proof(actor)
    versions = list(queries.list_policy_versions(actor)[:MAX_VERSIONS])
    current = versions[0] if versions else None
    values = sent or (presenters.format_policy_form(current.document) if current else {})
    context: dict[str, Any] = {
        "nav": "nodes",
        "proof": proof,
        "state": presenters.STATES[proof.status],
        "label": presenters.describe_status(proof.status),
        "rows": [
            (node, presenters.STATES[node.status], presenters.describe_status(node.status)) for node in proof.nodes
        ],
        "passed": proof.list_names("passed"),
        "current": current,
        "versions": versions,
        "rules": queries.render_policy(current.document) if current else {},
        "fields": presenters.build_form_fields(values, faults or {})
        if is_allowed(actor, "isolation.set_policy")
        else [],
        "is_faulty": bool(faults),
    }
    return render(request, "isolation/overview.html", context, status=status)


@mark_list_view(REPORTS.key)
@require_safe
def show_reports(request: HttpRequest, name: str = "") -> HttpResponseBase:
    """/isolation/reports[/<node>]: what every probe found."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    table = build_reports_table(actor, request.GET, name)
    if request.GET.get("format") == "csv":
        return export_list(actor, table)
    context = {**table.build_context(), "nav": "nodes", "node_name": name}
    return render(request, "isolation/reports.html", context, status=table.status)
