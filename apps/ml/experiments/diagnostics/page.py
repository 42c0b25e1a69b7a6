"""The tab of a run's diagnostics, its CSV files, and the pictures of its samples."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import parse_etags
from django.views.decorators.http import require_safe

from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.lists.csv_files import build_csv_response
from apps.core.request_values import validate_choice
from apps.ml.experiments import queries
from apps.ml.experiments.diagnostics.charts import build_charts
from apps.ml.experiments.diagnostics.documents import DiagnosticFiles, find_files, read_diagnostics, read_samples
from apps.ml.experiments.diagnostics.sample_pages import build_samples, decode_image
from apps.ml.experiments.diagnostics.tables import TABLES, encode_table
from apps.ml.experiments.models import Run
from apps.platform.accounts.projects import get_project_context
from deepseek.diagnostics.samples import ImageSamples
from deepseek.messages import N_


def build_diagnostics_context(actor: Actor, run: Run, files: DiagnosticFiles) -> dict[str, Any]:
    """What the tab shows: charts and samples, or neither where there are none that can be drawn."""
    diagnostics = read_diagnostics(actor, run, files.diagnostics)
    samples = read_samples(actor, run, files.samples)

    def build_csv_url(table: str) -> str:
        return reverse("experiments:diagnostics_csv", args=[run.project.slug, run.pk, table])

    return {
        "diagnostics": diagnostics,
        "charts": build_charts(diagnostics, build_csv_url) if diagnostics else {},
        "samples": build_samples(samples) if samples else None,
        "files": files,
    }


@require_safe
def download_table(request: HttpRequest, project: str, run: str, table: str) -> HttpResponseBase:
    """/p/<slug>/runs/<id>/diagnostics/<table>.csv"""
    actor, where = get_project_context(request, project)
    run_row = queries.get_run(actor, where, run)
    validate_choice("table", table, TABLES)
    diagnostics = read_diagnostics(actor, run_row, find_files(actor, run_row).diagnostics)
    if diagnostics is None:
        raise NotFound("This run has no diagnostics.", field="run", hint=N_("A training job writes them."))
    return build_csv_response(f"{run_row.pk[:8]}-{table}", encode_table(table, diagnostics))


@require_safe
def show_sample_image(request: HttpRequest, project: str, run: str, place: int) -> HttpResponse:
    """/p/<slug>/runs/<id>/samples/<place>: the picture of one sample, by its place in the file."""
    actor, where = get_project_context(request, project)
    run_row = queries.get_run(actor, where, run)
    file = find_files(actor, run_row).samples
    etag = f'"{file.artifact_id[:32]}-{place}"' if file else ""
    if etag and etag in parse_etags(request.headers.get("If-None-Match", "").replace("W/", "")):
        return HttpResponseNotModified(headers={"ETag": etag})
    samples = read_samples(actor, run_row, file)
    of_place = samples.samples[place : place + 1] if isinstance(samples, ImageSamples) else []
    picture = decode_image(of_place[0].image) if of_place else None
    if picture is None:
        raise NotFound("No picture {place} is here.", place=place, field="place", hint=N_("Choose one of the page."))
    media_type, data = picture
    headers = {
        "ETag": etag,
        "Cache-Control": "private, no-cache",  # whether the asker may still see it is asked each time
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": "inline",
    }
    return HttpResponse(data, content_type=media_type, headers=headers)
