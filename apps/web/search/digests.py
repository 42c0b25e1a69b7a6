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
from apps.web.search.bounds import Places
from apps.web.search.hits import Hit
from apps.web.search.names import hit_of_job, hit_of_logged, hit_of_run, there
from apps.web.search.query import Asked
from apps.web.templatetags.formats import bytes_

HEX_END = "g"  # behind every hex digit, in every collation
BEGIN_SO = 20  # rows that may begin with the same six digits


def begins(field: str, asked: Asked, behind: str = "") -> Q:
    """A range, so that the index is walked whatever the collation. `behind`: what stands before the digits."""
    first = behind + asked.digest
    wanted = Q(**{f"{field}__gte": first, f"{field}__lt": first + HEX_END})
    return wanted & Q(**{f"{field}__endswith": asked.tail}) if asked.tail else wanted


def find(actor: Actor, places: Places, asked: Asked, limit: int) -> list[Hit]:
    """At most twelve queries; one says that there is nothing."""
    keys = owners(actor, places, asked)
    if not keys:
        return []
    sole = len(keys) == 1  # the only thing that begins so is what was meant
    hits: list[Hit] = []
    if ids := keys_of("run", keys):
        runs = Run.objects.visible_to(actor).filter(pk__in=ids)
        hits += [hit_of_run(run, places.slug_of(run.project_id), exact=sole) for run in runs]
    if ids := keys_of("dataset", keys):
        hits += [hit_of_version(version, places, exact=sole) for version in dataset_versions(actor).filter(pk__in=ids)]
    if ids := keys_of("model", keys):
        # The document that names a model version is a file as well, with the same digest.
        own = {digest for _kind, _key, digest in keys}
        versions = model_versions(actor).filter(pk__in=ids)
        hits += [hit_of_model(version, places, exact=len(own) == len(ids) == 1) for version in versions]
    if ids := keys_of("logged_model", keys):
        logged = LoggedModel.objects.visible_to(actor).filter(pk__in=ids)
        hits += [hit_of_logged(model, places.slug_of(model.project_id), exact=sole) for model in logged]
    files = keys_of("file", keys)
    return hits + (list(uses(actor, places, files, limit)) if files else [])


def keys_of(kind: str, keys: list[tuple[str, str, str]]) -> list[str]:
    return [key for each, key, _digest in keys if each == kind]


def owners(actor: Actor, places: Places, asked: Asked) -> list[tuple[str, str, str]]:
    """(kind, key, digest) of what has a digest or an id that begins so; one query over five indexes."""

    def part(kind: str, rows: QuerySet[Any], field: str, behind: str = "") -> QuerySet[Any]:
        key = Cast("pk", CharField(max_length=64))
        chosen = rows.filter(begins(field, asked, behind)).order_by()
        return chosen.annotate(is_a=Value(kind, CharField()), key=key).values_list("is_a", "key", field)

    parts = [
        part("dataset", DatasetVersion.objects.visible_to(actor).filter(places.here("dataset__project")), "digest"),
        part("model", ModelVersion.objects.visible_to(actor).filter(places.here("model__project")), "digest"),
        part("logged_model", there(LoggedModel.objects.visible_to(actor)).filter(places.here()), "id", "m-"),
        part("file", Artifact.objects.visible_to(actor), "digest"),
    ]
    found = part("run", Run.objects.visible_to(actor).filter(places.here()), "id").union(*parts, all=True)
    return [(str(kind), str(key), str(digest)) for kind, key, digest in found[:BEGIN_SO]]


def dataset_versions(actor: Actor) -> QuerySet[DatasetVersion]:
    return DatasetVersion.objects.visible_to(actor).select_related("dataset").defer("manifest", "columns")


def model_versions(actor: Actor) -> QuerySet[ModelVersion]:
    return ModelVersion.objects.visible_to(actor).select_related("model").defer("document", "metrics")


def hit_of_version(version: DatasetVersion, places: Places, *, exact: bool = False, text: str = "") -> Hit:
    slug = places.slug_of(version.dataset.project_id)
    where = reverse("datasets:version", args=[slug, version.dataset.name, version.number])
    about = text or version.digest[:8]
    return Hit(kind="dataset", title=str(version), text=about, url=where, project=slug, exact=exact)


def hit_of_model(version: ModelVersion, places: Places, *, exact: bool = False, text: str = "") -> Hit:
    slug = places.slug_of(version.model.project_id)
    where = reverse("registry:version", args=[slug, version.model.name, version.number])
    about = text or version.digest[:8]
    return Hit(kind="model", title=str(version), text=about, url=where, project=slug, exact=exact)


def uses(actor: Actor, places: Places, digests: list[str], limit: int) -> Iterator[Hit]:
    """Where these bytes are: versions, variants, jobs that took or made them, runs; else the file alone."""
    found = [
        *in_versions(actor, places, digests, limit),
        *in_variants(actor, places, digests, limit),
        *in_jobs(actor, places, digests, limit),
        *in_runs(actor, places, digests, limit),
        *in_logged(actor, places, digests, limit),
    ]
    yield from found
    if not found:
        yield from alone(actor, places, digests, limit)


def among(visible: QuerySet[Any], link: str) -> Exists:
    """Whether the row that `link` leads to is one of these: asked for each row found, where IN would list them all."""
    return Exists(visible.filter(pk=OuterRef(link)))


def in_versions(actor: Actor, places: Places, digests: list[str], limit: int) -> Iterator[Hit]:
    visible = DatasetVersion.objects.visible_to(actor).filter(places.here("dataset__project"))
    rows = DatasetFile.objects.filter(among(visible, "version"), artifact__in=digests)
    rows = rows.select_related("version__dataset").defer("version__manifest", "version__columns")
    for row in rows.order_by("-pk")[: limit + 1]:
        yield hit_of_version(row.version, places, text=_("as its file %(path)s") % {"path": row.path})


def in_variants(actor: Actor, places: Places, digests: list[str], limit: int) -> Iterator[Hit]:
    rows = Variant.objects.visible_to(actor).filter(places.here("version__model__project"), artifact__in=digests)
    rows = rows.select_related("version__model")
    for row in rows.defer("version__document", "figures").order_by("-pk")[: limit + 1]:
        yield hit_of_model(row.version, places, text=_("as its variant %(name)s") % {"name": row.name})


def in_jobs(actor: Actor, places: Places, digests: list[str], limit: int) -> Iterator[Hit]:
    visible = Job.objects.visible_to(actor).filter(places.here())
    for table, words in ((JobOutput, _("made it as %(slot)s")), (JobInput, _("takes it as %(slot)s"))):
        rows = table.objects.filter(among(visible, "job"), artifact__in=digests).select_related("job")  # type: ignore[attr-defined]
        for row in rows.order_by("-pk")[: limit + 1]:
            yield hit_of_job(row.job, places.slug_of(row.job.project_id), text=words % {"slot": row.slot})


def in_runs(actor: Actor, places: Places, digests: list[str], limit: int) -> Iterator[Hit]:
    visible = Run.objects.visible_to(actor).filter(places.here())
    rows = RunArtifact.objects.filter(among(visible, "run"), artifact__in=digests).select_related("run")
    for row in rows.order_by("-pk")[: limit + 1]:
        text = _("as its file %(path)s") % {"path": row.path}
        yield hit_of_run(row.run, places.slug_of(row.run.project_id), text=text)


def in_logged(actor: Actor, places: Places, digests: list[str], limit: int) -> Iterator[Hit]:
    visible = there(LoggedModel.objects.visible_to(actor)).filter(places.here())
    rows = LoggedModelArtifact.objects.filter(among(visible, "model"), artifact__in=digests).select_related("model")
    for row in rows.order_by("-pk")[: limit + 1]:
        text = _("as its file %(path)s") % {"path": row.path}
        yield hit_of_logged(row.model, places.slug_of(row.model.project_id), text=text)


def alone(actor: Actor, places: Places, digests: list[str], limit: int) -> Iterator[Hit]:
    """Bytes that a project holds and nothing uses yet: the way to them is the download."""
    rows = Artifact.objects.visible_to(actor).filter(pk__in=digests[: limit + 1]).prefetch_related("holdings")
    for artifact in rows:
        for holding in artifact.holdings.all():
            if holding.project_id in places.slugs:
                slug = places.slug_of(holding.project_id)
                where = reverse("api-artifact", args=[slug, artifact.pk])
                text = _("%(size)s, used by nothing yet") % {"size": bytes_(artifact.size)}
                yield Hit(kind="file", title=holding.name or artifact.pk[:8], text=text, url=where, project=slug)
