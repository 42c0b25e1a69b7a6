"""What is found by the beginning of a digest or of a run's id: the object itself, and where those bytes are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import CharField, Exists, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.ml.experiments.models import LoggedModel, LoggedModelArtifact, Run, RunArtifact
from apps.ml.registry.models import ModelVersion, Variant
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job, JobInput, JobOutput
from apps.web.search.bounds import SearchBounds
from apps.web.search.hits import Hit
from apps.web.search.names import build_job_hit, build_logged_hit, build_run_hit, exclude_deleted
from apps.web.search.query import SearchQuery
from apps.web.templatetags.formats import format_bytes

HEX_END = "g"  # behind every hex digit, in every collation
MAX_PREFIX_ROWS = 20  # rows that may begin with the same six digits


def build_prefix_filter(field: str, query: SearchQuery, prefix: str = "") -> Q:
    """A range, so that the index is walked whatever the collation. `behind`: what stands before the digits."""
    first = prefix + query.digest
    condition = Q(**{f"{field}__gte": first, f"{field}__lt": first + HEX_END})
    return condition & Q(**{f"{field}__endswith": query.tail}) if query.tail else condition


def find(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> list[Hit]:
    """At most twelve queries; one says that there is nothing."""
    keys = load_owners(actor, bounds, query)
    if not keys:
        return []
    sole = len(keys) == 1  # the only thing that begins so is what was meant
    hits: list[Hit] = []
    if ids := filter_keys("run", keys):
        runs = Run.objects.visible_to(actor).filter(pk__in=ids)
        hits += [build_run_hit(run, bounds.get_slug(run.project_id), exact=sole) for run in runs]
    if ids := filter_keys("dataset", keys):
        hits += [
            build_version_hit(version, bounds, exact=sole)
            for version in list_dataset_versions(actor).filter(pk__in=ids)
        ]
    if ids := filter_keys("model", keys):
        # The document that names a model version is a file as well, with the same digest.
        own = {digest for _kind, _key, digest in keys}
        versions = list_model_versions(actor).filter(pk__in=ids)
        hits += [build_model_hit(version, bounds, exact=len(own) == len(ids) == 1) for version in versions]
    if ids := filter_keys("logged_model", keys):
        logged = LoggedModel.objects.visible_to(actor).filter(pk__in=ids)
        hits += [build_logged_hit(model, bounds.get_slug(model.project_id), exact=sole) for model in logged]
    files = filter_keys("file", keys)
    return hits + (list(find_uses(actor, bounds, files, limit)) if files else [])


def filter_keys(kind: str, keys: list[tuple[str, str, str]]) -> list[str]:
    return [key for owner_kind, key, _digest in keys if owner_kind == kind]


def load_owners(actor: Actor, bounds: SearchBounds, query: SearchQuery) -> list[tuple[str, str, str]]:
    """(kind, key, digest) of what has a digest or an id that begins so; one query over five indexes."""

    def select_keys(kind: str, rows: QuerySet[Any], field: str, prefix: str = "") -> QuerySet[Any]:
        key = Cast("pk", CharField(max_length=64))
        chosen = rows.filter(build_prefix_filter(field, query, prefix)).order_by()
        return chosen.annotate(is_a=Value(kind, CharField()), key=key).values_list("is_a", "key", field)

    parts = [
        select_keys(
            "dataset",
            DatasetVersion.objects.visible_to(actor).filter(bounds.filter_projects("dataset__project")),
            "digest",
        ),
        select_keys(
            "model", ModelVersion.objects.visible_to(actor).filter(bounds.filter_projects("model__project")), "digest"
        ),
        select_keys(
            "logged_model",
            exclude_deleted(LoggedModel.objects.visible_to(actor)).filter(bounds.filter_projects()),
            "id",
            "m-",
        ),
        select_keys("file", Artifact.objects.visible_to(actor), "digest"),
    ]
    rows = select_keys("run", Run.objects.visible_to(actor).filter(bounds.filter_projects()), "id").union(
        *parts, all=True
    )
    return [(str(kind), str(key), str(digest)) for kind, key, digest in rows[:MAX_PREFIX_ROWS]]


def list_dataset_versions(actor: Actor) -> QuerySet[DatasetVersion]:
    return DatasetVersion.objects.visible_to(actor).select_related("dataset").defer("manifest", "columns")


def list_model_versions(actor: Actor) -> QuerySet[ModelVersion]:
    return ModelVersion.objects.visible_to(actor).select_related("model").defer("document", "metrics")


def build_version_hit(version: DatasetVersion, bounds: SearchBounds, *, exact: bool = False, text: str = "") -> Hit:
    slug = bounds.get_slug(version.dataset.project_id)
    url = reverse("datasets:version", args=[slug, version.dataset.name, version.number])
    about = text or version.digest[:8]
    return Hit(kind="dataset", title=str(version), text=about, url=url, project=slug, exact=exact)


def build_model_hit(version: ModelVersion, bounds: SearchBounds, *, exact: bool = False, text: str = "") -> Hit:
    slug = bounds.get_slug(version.model.project_id)
    url = reverse("registry:version", args=[slug, version.model.name, version.number])
    about = text or version.digest[:8]
    return Hit(kind="model", title=str(version), text=about, url=url, project=slug, exact=exact)


def find_uses(actor: Actor, bounds: SearchBounds, digests: list[str], limit: int) -> Iterator[Hit]:
    """Where these bytes are: versions, variants, jobs that took or made them, runs; else the file alone."""
    hits = [
        *find_in_versions(actor, bounds, digests, limit),
        *find_in_variants(actor, bounds, digests, limit),
        *find_in_jobs(actor, bounds, digests, limit),
        *find_in_runs(actor, bounds, digests, limit),
        *find_in_logged_models(actor, bounds, digests, limit),
    ]
    yield from hits
    if not hits:
        yield from find_unused_files(actor, bounds, digests, limit)


def build_visible_filter(visible: QuerySet[Any], link: str) -> Exists:
    """Whether the row that `link` leads to is one of these: asked for each row found, where IN would list them all."""
    return Exists(visible.filter(pk=OuterRef(link)))


def find_in_versions(actor: Actor, bounds: SearchBounds, digests: list[str], limit: int) -> Iterator[Hit]:
    visible = DatasetVersion.objects.visible_to(actor).filter(bounds.filter_projects("dataset__project"))
    rows = DatasetFile.objects.filter(build_visible_filter(visible, "version"), artifact__in=digests)
    rows = rows.select_related("version__dataset").defer("version__manifest", "version__columns")
    for row in rows.order_by("-pk")[: limit + 1]:
        yield build_version_hit(row.version, bounds, text=_("as its file %(path)s") % {"path": row.path})


def find_in_variants(actor: Actor, bounds: SearchBounds, digests: list[str], limit: int) -> Iterator[Hit]:
    rows = Variant.objects.visible_to(actor).filter(
        bounds.filter_projects("version__model__project"), artifact__in=digests
    )
    rows = rows.select_related("version__model")
    for row in rows.defer("version__document", "figures").order_by("-pk")[: limit + 1]:
        yield build_model_hit(row.version, bounds, text=_("as its variant %(name)s") % {"name": row.name})


def find_in_jobs(actor: Actor, bounds: SearchBounds, digests: list[str], limit: int) -> Iterator[Hit]:
    visible = Job.objects.visible_to(actor).filter(bounds.filter_projects())
    for table, words in ((JobOutput, _("produced it as %(slot)s")), (JobInput, _("takes it as %(slot)s"))):
        rows = table.objects.filter(build_visible_filter(visible, "job"), artifact__in=digests).select_related("job")  # type: ignore[attr-defined]
        for row in rows.order_by("-pk")[: limit + 1]:
            yield build_job_hit(row.job, bounds.get_slug(row.job.project_id), text=words % {"slot": row.slot})


def find_in_runs(actor: Actor, bounds: SearchBounds, digests: list[str], limit: int) -> Iterator[Hit]:
    visible = Run.objects.visible_to(actor).filter(bounds.filter_projects())
    rows = RunArtifact.objects.filter(build_visible_filter(visible, "run"), artifact__in=digests).select_related("run")
    for row in rows.order_by("-pk")[: limit + 1]:
        text = _("as its file %(path)s") % {"path": row.path}
        yield build_run_hit(row.run, bounds.get_slug(row.run.project_id), text=text)


def find_in_logged_models(actor: Actor, bounds: SearchBounds, digests: list[str], limit: int) -> Iterator[Hit]:
    visible = exclude_deleted(LoggedModel.objects.visible_to(actor)).filter(bounds.filter_projects())
    rows = LoggedModelArtifact.objects.filter(
        build_visible_filter(visible, "model"), artifact__in=digests
    ).select_related("model")
    for row in rows.order_by("-pk")[: limit + 1]:
        text = _("as its file %(path)s") % {"path": row.path}
        yield build_logged_hit(row.model, bounds.get_slug(row.model.project_id), text=text)


def find_unused_files(actor: Actor, bounds: SearchBounds, digests: list[str], limit: int) -> Iterator[Hit]:
    """Bytes that a project holds and nothing uses yet: the way to them is the download."""
    rows = Artifact.objects.visible_to(actor).filter(pk__in=digests[: limit + 1]).prefetch_related("holdings")
    for artifact in rows:
        for holding in artifact.holdings.all():
            if holding.project_id in bounds.slugs:
                slug = bounds.get_slug(holding.project_id)
                url = reverse("api-artifact", args=[slug, artifact.pk])
                text = _("%(size)s, used by nothing yet") % {"size": format_bytes(artifact.size)}
                yield Hit(kind="file", title=holding.name or artifact.pk[:8], text=text, url=url, project=slug)
