"""The provenance card of a dataset version or job: `{% load provenance %}{% provenance_card version %}`."""

from __future__ import annotations

import json
from typing import Any

from django import template
from django.template.context import Context

from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.provenance.producers import Provenance, get_job_provenance, get_version_provenance
from apps.gateways.openlineage.naming import FOREIGN_DATASET, FOREIGN_JOB
from apps.gateways.openlineage.queries import get_end, list_foreign_runs
from apps.platform.jobs.models import Job
from apps.platform.jobs.tabs import flatten_spec
from apps.platform.lineage.queries import GraphNode
from apps.platform.lineage.steps import get_node_url
from apps.web.templatetags.object_links import get_actor

register = template.Library()
PARAMS_SHOWN = 40


@register.inclusion_tag("lineage/made_by.html", takes_context=True)
def provenance_card(context: Context, subject: DatasetVersion | Job) -> dict[str, Any]:
    request, actor = context["request"], get_actor(context)
    provenance = (
        get_job_provenance(actor, subject)
        if isinstance(subject, Job)
        else get_version_provenance(actor, subject, context.get("taker"))
    )
    params = [(name, value) for name, value in flatten_spec(provenance.params) if value not in (None, "", [], {})]
    return {
        "request": request,
        "made": provenance,
        "params": params[:PARAMS_SHOWN],
        "inputs": list_inputs(provenance, request),
    }


def list_inputs(provenance: Provenance, request: Any) -> list[dict[str, str]]:
    """Each input with its page."""
    slug = request.project.slug
    return [
        {
            "slot": source.slot,
            "label": source.label,
            "digest": source.digest,
            "url": get_node_url(GraphNode(source.type, source.id, source.digest, source.label, 0), slug),
        }
        for source in provenance.inputs
    ]


@register.inclusion_tag("lineage/foreign.html", takes_context=True)
def foreign_end(context: Context, type: str, id: str) -> dict[str, Any]:
    """What other tools told of a foreign job or dataset; nothing for an end of ours."""
    request = context["request"]
    if type not in (FOREIGN_JOB, FOREIGN_DATASET):
        return {"request": request}
    end = get_end(get_actor(context), request.project, type, id)
    if end is None:
        return {"request": request}
    facets = [(name, json.dumps(strip_facet(facet), ensure_ascii=False)) for name, facet in sorted(end.facets.items())]
    runs = list_foreign_runs(get_actor(context), end) if type == FOREIGN_JOB else []
    return {"request": request, "end": end, "facets": facets, "runs": runs}


def strip_facet(facet: Any) -> Any:
    """A facet without what every facet has."""
    return {name: value for name, value in facet.items() if not name.startswith("_")}
