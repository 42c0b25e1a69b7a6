"""How a variant was made, for its release: the job with its spec, and the digests of all that went in. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from apps.fleet.releases.queries import get_fingerprint
from apps.fleet.releases.services.key_lists import format_time
from apps.ml.registry.models import Variant
from apps.platform.jobs.models import Job, JobProvenance
from apps.platform.lineage.models import Edge
from apps.platform.lineage.traversal import UP, walk_edges
from deepseek.signing.documents import DIGEST, compute_digest, measure_depth
from deepseek.signing.provenance import MAX_DEPENDENCIES, Dependency, VariantProvenance

BUILDER = "urn:deepseek-offline:plane:"
MAX_SPEC_CHARACTERS, MAX_SPEC_DEPTH = 100_000, 12
"""A spec beyond is named by its digest: an envelope holds a MiB, of 20 levels."""
DEPTH, FAN, MAX_EDGES = 20, 100, 1000


def build_provenance(variant: Variant) -> VariantProvenance:
    """The provenance of a variant. The builder is this plane, by the fingerprint of its first list of keys.

    What went in has a type and a number for a name, and no label: people named those, and devices need them not. At
    most 500 are listed, the nearest first.
    """
    job = Job.objects.filter(pk=variant.job_id).first() if variant.job_id else None
    by_key = dict[tuple[str, str], Dependency]()
    for each in iter_dependencies(variant, job):
        if each.sha256 != variant.artifact_id and len(by_key) < MAX_DEPENDENCIES:
            by_key.setdefault((each.name, each.sha256), each)
    return VariantProvenance(
        file_name=variant.file,
        sha256=variant.artifact_id,
        builder=f"{BUILDER}{get_fingerprint()}",
        parameters=describe_parameters(job) if job else {},
        dependencies=tuple(by_key.values()),
        invocation=f"job/{job.pk}" if job else "",
        started_at=format_time(job.claimed_at) if job and job.claimed_at else None,
        finished_at=format_time(job.ended_at) if job and job.ended_at else None,
    )


def describe_parameters(job: Job) -> dict[str, Any]:
    """Kind and spec of the job."""
    if len(job.spec) <= MAX_SPEC_CHARACTERS and measure_depth(spec := json.loads(job.spec)) <= MAX_SPEC_DEPTH:
        return {"kind": job.kind, "spec": spec}
    return {"kind": job.kind, "spec_sha256": compute_digest(job.spec.encode())}


def iter_dependencies(variant: Variant, job: Job | None) -> Iterator[Dependency]:
    """Inputs of the job that made the variant, then what the lineage has above it, and the code of each job on the way.

    A variant that no job here made (it came in a bundle) has what the lineage has of it.
    """
    jobs = [job.pk] if job else []
    if job is not None:
        for slot, digest in job.inputs.order_by("slot").values_list("slot", "artifact_id"):
            if digest:
                yield Dependency(f"input/{slot}", digest)
    ways = walk_edges(variant.version.model.project, ("variant", str(variant.pk)), UP, DEPTH, FAN, MAX_EDGES)
    edges = Edge.objects.in_bulk({way.edge for way in ways})
    for way in ways:
        edge = edges[way.edge]
        if edge.source_type == "job":
            jobs.append(int(edge.source_id))
        elif DIGEST.fullmatch(edge.source_digest):
            number = edge.source_digest[:12] if edge.source_id == edge.source_digest else edge.source_id
            yield Dependency(f"{edge.source_type}/{number}", edge.source_digest)
    rows = JobProvenance.objects.filter(job__in=jobs).order_by("job_id")
    for pk, digest in rows.values_list("job_id", "code_digest"):
        if DIGEST.fullmatch(digest):
            yield Dependency(f"code/{pk}", digest)
