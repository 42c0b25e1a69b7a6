"""The lineage tab of a job. Jobs stand below lineage, so the tab that needs both is here."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.core import policy
from apps.core.errors import Invalid, NotFound
from apps.platform.accounts.projects import get_project_context
from apps.platform.jobs.queries import get_job
from apps.platform.jobs.views import build_job_context
from apps.platform.lineage.ends import check_end
from apps.platform.lineage.queries import GraphNode, find_end
from apps.platform.lineage.steps import get_node_url, get_type_label


@require_safe
def show_end(request: HttpRequest, project: str, type: str, id: str) -> HttpResponse:
    """/p/<slug>/lineage/<type>/<id>: the graph around anything, for what has no page of its own. 404 for nonsense."""
    actor, where = get_project_context(request, project)
    policy.require(actor, "lineage.view", where)
    try:
        check_end(type, id)
    except Invalid as error:
        raise NotFound(error.message, field=error.field) from error
    edge = find_end(actor, where, (type, id))
    node = GraphNode(type, id, edge.digest if edge else "", edge.label if edge else "", 0)
    url = get_node_url(node, where.slug)
    page = "" if url == request.path else url
    context = {"nav": "data", "type": type, "id": id, "end": node, "kind": get_type_label(type), "page_of": page}
    return render(request, "lineage/end.html", context)


@require_safe
def show_job_lineage(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/jobs/<id>/lineage: what went in, what came out, and on to both ends."""
    actor, where = get_project_context(request, project)
    job = get_job(actor, where, pk)
    return render(request, "jobs/lineage.html", build_job_context(actor, job, "lineage"))
