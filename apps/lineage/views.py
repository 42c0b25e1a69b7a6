"""The lineage tab of a job. Jobs stand below lineage, so the tab that needs both is here."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.jobs.reads import get_job
from apps.jobs.views import job_context, within
from apps.lineage.reads import graph
from apps.lineage.steps import rows_of, strip_of

DEPTH = 4


@require_safe
def job_lineage(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/jobs/<id>/lineage: what went in, what came out, and on to both ends."""
    actor, where = within(request, project)
    job = get_job(actor, where, pk)
    found = graph(actor, where, "job", str(job.pk), depth=DEPTH)
    context = {
        **job_context(actor, job, "lineage"),
        "graph": found,
        "steps": strip_of(found, where.slug),
        "rows": rows_of(found, where.slug),
    }
    return render(request, "jobs/lineage.html", context)
