"""What a page says of things that its own app may not know: the app below shows a digest, this names its version.

Apps import downwards only, and a job knows digests. Its page still links the dataset version that a digest is, so the
look-up stands here, above all apps. `{% load object_links %}`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from django import template
from django.db.models import Count, Exists, OuterRef, Q, Subquery, Value
from django.template.context import Context
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from apps.core.actors import Actor
from apps.core.html import format_html
from apps.core.policy import is_allowed
from apps.data.datasets.versions.names import find_versions_by_digest
from apps.ml.experiments.diagnostics.documents import TRADEOFF_PATH
from apps.ml.experiments.models import Run, RunArtifact
from apps.ml.experiments.nesting import build_children_query, load_nesting_of_page
from apps.ml.pipelines import status_summary as pipelines
from apps.ml.pipelines.models import PipelineStep
from apps.ml.pipelines.queries import LoadedPipeline
from apps.ml.registry.models import Alias, ModelVersion, Variant
from apps.ml.registry.states import PRODUCTION
from apps.ml.sweeps.models import Sweep, SweepTrial
from apps.ml.sweeps.services.requests import RUN_KIND
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job, JobInput
from apps.platform.jobs.states import JobState
from apps.platform.jobs.status.status_summary import summarize_status
from apps.platform.lineage.models import Edge
from apps.web.templatetags import svg_marks
from apps.web.templatetags.formats import format_duration

register = template.Library()

LISTED_FILES = 5  # of a folder among the inputs; of more only their number is shown
VERSIONS_SHOWN = 3
SPARK = (
    '<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="{}"><path d="{}"/></svg>'
)


def get_actor(context: Context) -> Actor:
    return context["request"].actor  # type: ignore[no-any-return]


def get_version_links(context: Context, *lists: Iterable[str | None]) -> dict[str, dict[str, str]]:
    """{digest: {label, url}} of the newest version in the page's project that holds these bytes. One query."""
    digests = [digest for each in lists for digest in each]
    links = find_versions_by_digest(get_actor(context), context["request"].project, digests)
    return {digest: {"label": link.label, "url": link.url} for digest, link in links.items()}


@register.filter
def collapse_folders(inputs: Mapping[str, str] | Iterable[JobInput]) -> list[tuple[str, Any, int]]:
    """(slot, value, 0) of inputs, by digest or as rows; (folder, None, files) once for a folder of many files."""
    pairs = list(inputs.items()) if isinstance(inputs, Mapping) else [(row.slot, row) for row in inputs]
    sizes = Counter(slot.partition("/")[0] for slot, _ in pairs if "/" in slot)
    rows: dict[str, tuple[str, Any, int]] = {}
    for slot, value in pairs:
        folder = slot.partition("/")[0]
        is_many = "/" in slot and sizes[folder] > LISTED_FILES
        rows.setdefault(*((folder, (folder, None, sizes[folder])) if is_many else (slot, (slot, value, 0))))
    return list(rows.values())


@register.simple_tag(takes_context=True)
def job_links(context: Context, job: Job) -> dict[str, dict[str, dict[str, str]]]:
    """{"inputs": {slot: {label, url}}, "outputs": ...} of the dataset versions that a job took and made.

    As the lineage recorded them when it succeeded, for the same bytes may be in versions of other datasets since. Where
    it recorded none, the newest version of each. Two queries at most.
    """
    if job.state == JobState.SUCCEEDED:
        places = load_recorded_links(context, job.project_id, job.pk)
        if any(places.values()):
            return places
    sides = {"inputs": job.inputs.all(), "outputs": job.outputs.all()}
    newest = get_version_links(context, *([row.artifact_id for row in rows] for rows in sides.values()))
    return {
        side: {row.slot: newest[row.artifact_id] for row in rows if row.artifact_id in newest}
        for side, rows in sides.items()
    }


def load_recorded_links(context: Context, project: int, job: int) -> dict[str, dict[str, dict[str, str]]]:
    """As `job_places`, by the edges alone. One query."""
    places: dict[str, dict[str, dict[str, str]]] = {"inputs": {}, "outputs": {}}
    for side, _, slot, place in load_recorded_versions(context, project, [job]):
        places[side][slot] = place
    return places


def load_recorded_versions(
    context: Context, project: int, jobs: Iterable[int]
) -> list[tuple[str, str, str, dict[str, str]]]:
    """(side, job, slot, {label, url}) of the dataset versions that these jobs took and made. One query."""
    edges, job_ids = Edge.objects.visible_to(get_actor(context)).filter(project=project), [str(job) for job in jobs]
    inputs = edges.filter(target_type="job", target_id__in=job_ids, source_type="dataset_version")
    outputs = edges.filter(source_type="job", source_id__in=job_ids, target_type="dataset_version")
    rows = inputs.values_list(Value("inputs"), "target_id", "role", "source_id", "source_label")
    rows = rows.union(outputs.values_list(Value("outputs"), "source_id", "role", "target_id", "target_label"), all=True)
    slug = context["request"].project.slug
    return [
        (side, job, slot, {"label": label or f"#{pk}", "url": reverse("datasets:by_id", args=[slug, pk])})
        for side, job, slot, pk, label in rows
    ]


@register.simple_tag(takes_context=True)
def run_links(context: Context, run: Run) -> dict[str, dict[str, str]]:
    """{slot: {label, url}} of what a run was made of: as its job took it, which the lineage knows once it succeeded,
    else the newest versions. Two queries at most."""
    succeeded = run.job is not None and run.job.state == JobState.SUCCEEDED
    recorded = load_recorded_links(context, run.project_id, run.job_id)["inputs"] if succeeded else {}
    if recorded:
        return recorded
    newest = get_version_links(context, run.inputs.values())
    return {slot: newest[digest] for slot, digest in run.inputs.items() if digest in newest}


@register.simple_tag(takes_context=True)
def get_model_version(context: Context, job: Job) -> dict[str, str]:
    """{label, url} of the model version that a register job has made, or has found there; empty for every other."""
    name = job.register.get("model")
    if not name or job.state != JobState.SUCCEEDED:
        return {}
    visible = ModelVersion.objects.visible_to(get_actor(context)).select_related("model").defer("document")
    digests = [output.artifact_id for output in job.outputs.all()]
    version = visible.filter(model__project=job.project_id, model__name=name, digest__in=digests).first()
    if version is None:
        return {}
    slug = context["request"].project.slug
    return {"label": str(version), "url": reverse("registry:version", args=[slug, name, version.number])}


@register.simple_tag(takes_context=True)
def get_variant_version(context: Context, digest: str) -> dict[str, str]:
    """{label, url, evaluations} of the newest model version that has a form of these bytes; empty where none has."""
    if not digest:
        return {}
    slug, project = context["request"].project.slug, context["request"].project
    variants = Variant.objects.visible_to(get_actor(context)).filter(artifact=digest, version__model__project=project)
    variant = variants.select_related("version__model").defer("version__document").order_by("-pk").first()
    if variant is None:
        return {}
    args = [slug, variant.version.model.name, variant.version.number]
    return {
        "label": str(variant.version),
        "url": reverse("registry:version", args=args),
        "evaluations": reverse("registry:evaluations", args=args),
    }


@register.simple_tag(takes_context=True)
def get_run(context: Context, job: Job) -> dict[str, str]:
    """{label, url} of the run that a job's worker keeps, and `tradeoff`, the address of that tab, where it has one;
    empty for a kind that leaves none. One query at most."""
    kind = KINDS.get(job.kind)
    if kind is None or not kind.tracked:
        return {}
    document = RunArtifact.objects.filter(run=OuterRef("pk"), path=TRADEOFF_PATH)
    runs = Run.objects.visible_to(get_actor(context)).filter(job=job).only("pk", "name")
    run = runs.annotate(has_tradeoff=Exists(document)).first()
    if run is None:
        return {}
    args = [context["request"].project.slug, run.pk]
    tradeoff = reverse("experiments:trade-off", args=args) if run.has_tradeoff else ""
    return {"label": run.pk[:8], "url": reverse("experiments:detail", args=args), "tradeoff": tradeoff}


@register.simple_tag(takes_context=True)
def run_versions(context: Context, run: Run) -> dict[str, Any]:
    """`rows`: {label, url, live} of the model versions that this run trained, what is in production first, then the
    newest; `more`: how many others there are, on the page at `url`. One query.
    """
    visible = ModelVersion.objects.visible_to(get_actor(context)).filter(run=run)
    # By their keys first, newest and live alike: a run may have made hundreds, of which three are read.
    live = Alias.objects.filter(version__in=visible, name=PRODUCTION).values("version")
    newest = visible.order_by("-pk").values("pk")[:VERSIONS_SHOWN]
    counted = visible.order_by().values("run").annotate(number=Count("pk")).values("number")
    selected = ModelVersion.objects.filter(Q(pk__in=newest) | Q(pk__in=live)).select_related("model").defer("document")
    annotated = selected.annotate(live=Q(pk__in=live), total=Subquery(counted))
    versions = list(annotated.order_by("-live", "-pk")[:VERSIONS_SHOWN])
    slug = context["request"].project.slug
    rows = [
        {
            "label": f"{version.model.name} v{version.number}",
            "url": reverse("registry:version", args=[slug, version.model.name, version.number]),
            "live": version.live,  # type: ignore[attr-defined]
        }
        for version in versions
    ]
    return {
        "rows": rows,
        "more": versions[0].total - len(rows) if versions else 0,  # type: ignore[attr-defined]
        "url": reverse("registry:model", args=[slug, versions[0].model.name]) if versions else "",
    }


@register.simple_tag(takes_context=True)
def get_pipeline(context: Context, job: Job) -> dict[str, str]:
    """{label, url} of the pipeline that a job is a step of; empty if it is of none. One query."""
    step = PipelineStep.objects.filter(job=job).select_related("pipeline").defer("pipeline__document").first()
    if step is None or not is_allowed(get_actor(context), "pipeline.view", job):
        return {}
    slug = context["request"].project.slug
    return {"label": str(step.pipeline), "url": reverse("pipelines:detail", args=[slug, step.pipeline_id])}


@register.simple_tag(takes_context=True)
def get_sweep(context: Context, job: Job) -> dict[str, str]:
    """{label, url} of the sweep that a job is a trial of; empty if it is of none. One query."""
    kind = KINDS.get(job.kind)
    if kind is None or not kind.tunable or not is_allowed(get_actor(context), "sweep.view", job):
        return {}
    trial = SweepTrial.objects.filter(job=job).select_related("sweep").defer("sweep__document").first()
    if trial is None:
        return {}
    url = reverse("sweeps:detail", args=[context["request"].project.slug, trial.sweep_id])
    return {"label": f"{trial.sweep} ({trial.number})", "url": url}


@register.simple_tag(takes_context=True)
def get_nesting(context: Context, run: Run) -> dict[str, Any]:
    """{parent, children, query, sweep} of a run: what it is nested in, how many are in it, and the sweep it is of."""
    nesting = load_nesting_of_page(run, context.get("tags"))
    sweep = Sweep.objects.filter(run=run).only("id", "name").first() if run.kind == RUN_KIND else None
    return {
        "parent": nesting.parents.get(run.pk),
        "children": nesting.children.get(run.pk, 0),
        "query": build_children_query(run.pk),
        "sweep": sweep
        and {"label": str(sweep), "url": reverse("sweeps:detail", args=[context["request"].project.slug, sweep.pk])},
    }


@register.simple_tag
def pipeline_answer(overview: LoadedPipeline) -> SafeString:
    """The sentence that a pipeline's page opens with."""
    return pipelines.summarize_status(overview, format_duration)


@register.simple_tag(takes_context=True)
def pipeline_links(context: Context, overview: LoadedPipeline, sources: dict[str, str]) -> dict[str, Any]:
    """`taken`: [{label, url, step}] of the dataset versions that `sources` (digest -> step) are; `made`: {step: {label,
    url, kind}} of what its jobs registered. Three queries at most.

    As the lineage recorded them, for the same bytes may be in versions of other datasets since. Where it recorded none,
    the newest version of each.
    """
    names = {str(step.job_id): step.name for step in overview.steps}
    recorded = load_recorded_versions(context, overview.pipeline.project_id, [step.job_id for step in overview.steps])
    outputs = {names[job]: {**place, "kind": "data"} for side, job, _, place in recorded if side == "outputs"}
    own = {place["url"] for place in outputs.values()}
    recorded_inputs = [
        (names[job], place) for side, job, _, place in recorded if side == "inputs" and place["url"] not in own
    ]
    inputs = [{**place, "step": step} for step, place in recorded_inputs]
    rest = {digest: step for digest, step in sources.items() if step not in dict(recorded_inputs)}
    digests = {
        step.name: [out.artifact_id for out in step.job.outputs.all()]
        for step in overview.steps
        if step.name not in outputs and step.job.register.get("dataset")
    }
    newest = get_version_links(context, rest, *digests.values())
    outputs |= {
        name: {**newest[digest], "kind": "data"}
        for name, artifact_ids in digests.items()
        for digest in artifact_ids
        if digest in newest
    }
    inputs += [{**newest[digest], "step": step} for digest, step in rest.items() if digest in newest]
    return {"taken": inputs, "made": outputs | find_model_versions(context, overview)}


def find_model_versions(context: Context, overview: LoadedPipeline) -> dict[str, dict[str, str]]:
    step_names = {
        (name, out.artifact_id): step.name
        for step in overview.steps
        if (name := step.job.register.get("model"))
        for out in step.job.outputs.all()
    }
    if not step_names:
        return {}
    names, digests = zip(*step_names, strict=True)
    project = context["request"].project
    visible = ModelVersion.objects.visible_to(get_actor(context)).select_related("model").defer("document")
    versions = visible.filter(model__project=project, model__name__in=names, digest__in=digests)
    return {
        step_names[version.model.name, version.digest]: {
            "label": str(version),
            "url": reverse("registry:version", args=[project.slug, version.model.name, version.number]),
            "kind": "models",
        }
        for version in versions
        if (version.model.name, version.digest) in step_names
    }


@register.filter
def lookup(mapping: Any, key: Any) -> Any:
    """mapping[key], or None: a template cannot look up by a variable."""
    return (mapping or {}).get(key)


@register.filter
def elapsed_seconds(job: Job) -> float | None:
    """Seconds from the claim of the last attempt to the end; to now of one that runs."""
    until = timezone.now() if job.state == JobState.RUNNING else job.ended_at
    return (until - job.claimed_at).total_seconds() if until and job.claimed_at else None


@register.filter
def job_title(job: Job) -> str:
    """As a line names a job; the name of a pipeline's step ends with its kind, which is not said twice."""
    return job.name if job.name.endswith(f": {job.kind}") else f"{job.kind} {job.name}".rstrip()


@register.simple_tag
def job_answer(job: Job, wait: dict[str, Any]) -> SafeString:
    """The sentence that a job's page opens with."""
    return summarize_status(job, wait, format_duration)


@register.simple_tag
def spark_histogram(counts: Iterable[int] | None, label: str = "") -> SafeString | str:
    """A histogram the height of a table's row; the whole one, with values, is in the tab of quality."""
    values = list(counts or ())
    if not values:
        return ""
    pooled = svg_marks.merge_bins(list(range(len(values) + 1)), values)[1]
    top, width = max(pooled) or 1, 100 / len(pooled)
    wide = svg_marks.format_coordinate(width * 0.85)
    lefts = [svg_marks.format_coordinate(i * width) for i in range(len(pooled))]
    path = "".join(
        f"M{lefts[i]} 20V{svg_marks.format_coordinate(20 - max(1, value / top * 19))}h{wide}V20z"
        for i, value in enumerate(pooled)
        if value
    )
    return format_html(SPARK, label, path)
