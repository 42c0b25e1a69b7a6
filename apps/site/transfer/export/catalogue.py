"""The catalogue of a bundle: the rows of what it carries, and the digests of all bytes that these rows name.

Made on the source from what the asker may see. It is one object of the bundle, so the signatures cover it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet, Sum

from apps.core.actors import Actor
from apps.core.canonical import compute_digest, encode_canonical_json
from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.ml.experiments.models import MetricBucket, MetricPoint, Run, RunArtifact
from apps.ml.experiments.services import ingest_batches
from apps.ml.registry.models import Evaluation, ModelVersion
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.lineage.queries import MAX_DEPTH, fetch_graph
from apps.platform.nodes.models import ConflictRules
from apps.site.mirror.models import Advisory, AdvisoryFeed, ContainerImage, ImageTag, PackageFile
from apps.site.transfer.export import fields
from apps.site.transfer.export.rows import dump_fields
from deepseek.bundles.spec import MAX_CONTENTS, Content, ObjectRef
from deepseek.doctor.conflict_rules import FORMAT
from deepseek.messages import N_

SCHEMA = "plane/bundle-catalogue/v1"
MAX_SERIES_POINTS = 5_000_000  # of a run: they are written as one document
PLANE_KINDS = frozenset({"image", "package", "advisories", "conflicts"})  # what belongs to the plane as a whole
Store = Callable[[bytes], str]
"""Keeps bytes that were made for the bundle, and returns their digest."""


class Catalogue:
    """Rows by kind, as they are added, and every object that they name, each once.

    Without `store` it only looks whether all of it can be carried: nothing is made for the bundle.
    """

    def __init__(self, actor: Actor, project: Project, store: Store | None = None) -> None:
        self.actor, self.project, self.store = actor, project, store
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.contents: list[Content] = []
        self.objects: dict[str, int] = {}
        self.made: set[str] = set()
        self.edges: dict[tuple[str, ...], dict[str, Any]] = {}
        self.dataset_versions: set[int] = set()

    def add_content(self, kind: str, name: str, digest: str) -> None:
        if len(self.contents) >= MAX_CONTENTS:
            raise Invalid(
                "A bundle carries at most {most} things.",
                most=MAX_CONTENTS,
                code="too_many_contents",
                field="/contents",
                limit=MAX_CONTENTS,
                hint=N_("Build two bundles."),
            )
        self.contents.append(Content(kind, name[:400], digest))

    def add_row(self, kind: str, row: dict[str, Any]) -> None:
        self.rows.setdefault(kind, []).append(row)

    def add_artifact(self, artifact: Artifact | None) -> str | None:
        """Name an artifact of the store. Raises Invalid where its bytes are damaged."""
        if artifact is None:
            return None
        if artifact.damaged_at is not None:
            raise Invalid(
                "The bytes of {digest} are damaged.",
                digest=artifact.digest,
                code="artifact_damaged",
                field="/contents",
                hint=N_("Upload the right bytes again, then build the bundle."),
            )
        self.objects[artifact.digest] = artifact.size
        return artifact.digest

    def add_document(self, read: Callable[[], Any]) -> str:
        """Keep the JSON value that `read` gives as an object of its own."""
        if self.store is None:
            return ""
        return self.add_bytes(json.dumps(read(), cls=DjangoJSONEncoder, separators=(",", ":")).encode())

    def add_bytes(self, data: bytes) -> str:
        if self.store is None:
            return ""
        digest = self.store(data)
        self.objects[digest] = len(data)
        self.made.add(digest)
        return digest

    # -- data -------------------------------------------------------------------------------------------------------
    def add_dataset_version(self, version: DatasetVersion) -> None:
        self.dataset_versions.add(version.pk)
        files = DatasetFile.objects.filter(version=version).select_related("artifact").order_by("path")
        row = {
            "id": version.pk,
            "dataset": version.dataset.name,
            "description": version.dataset.description,
            **dump_fields(version, fields.DATASET_VERSION),
            "quality": self.add_artifact(version.quality),
            "files": [[file.path, self.add_artifact(file.artifact), file.media_type] for file in files.iterator()],
        }
        if version.parts:
            row["part_rows"] = dict(files.values_list("path", "rows"))
        self.add_row("dataset_versions", row)
        self.add_content("dataset_version", str(version), version.digest)
        self.add_lineage("dataset_version", str(version.pk))

    # -- models -----------------------------------------------------------------------------------------------------
    def add_model_version(self, version: ModelVersion) -> None:
        variants = list(version.variants.select_related("artifact", "manifest", "parent").order_by("pk"))
        row = {
            "id": version.pk,
            "model": version.model.name,
            "model_description": version.model.description,
            **dump_fields(version, fields.MODEL_VERSION),
            "run": version.run_id,
            "tags": {tag.key: tag.value for tag in version.tags.all()},
            "variants": [
                {
                    "id": variant.pk,
                    **dump_fields(variant, fields.VARIANT),
                    "artifact": self.add_artifact(variant.artifact),
                    "manifest": self.add_artifact(variant.manifest),
                    "parent": variant.parent.name if variant.parent else None,
                }
                for variant in variants
            ],
            "files": [
                [file.path, self.add_artifact(file.artifact), file.size, file.media_type]
                for file in version.files.select_related("artifact").order_by("path")
            ],
        }
        self.add_row("model_versions", row)
        self.add_content("model_version", str(version), version.digest)
        self.add_lineage("model_version", str(version.pk))
        if version.run is not None:
            self.add_run(version.run, with_files=False)

    def add_evaluations(self) -> None:
        """What was measured of the model versions in here, on sets whose data travel too."""
        versions = [row["id"] for row in self.rows.get("model_versions", [])]
        rows = Evaluation.objects.filter(
            version__in=versions, set__dataset_version__in=self.dataset_versions, variant__isnull=False
        )
        related = ("set__dataset_version", "set__table", "variant", "artifact", "replicates")
        for row in rows.select_related(*related).order_by("pk"):
            self.add_row(
                "evaluations",
                {
                    **dump_fields(row, fields.EVALUATION),
                    "set": dump_fields(row.set, fields.EVALUATION_SET),
                    "data": row.set.dataset_version_id,
                    "table": self.add_artifact(row.set.table),
                    "version": row.version_id,
                    "variant": row.variant.name if row.variant else "",
                    "artifact": self.add_artifact(row.artifact),
                    "replicates": self.add_artifact(row.replicates),
                },
            )

    # -- runs -------------------------------------------------------------------------------------------------------
    def add_run(self, run: Run, *, with_files: bool) -> None:
        """A run with all its points; its files where it was asked for by itself."""
        present = next((row for row in self.rows.get("runs", []) if row["id"] == run.pk), None)
        if present is not None:  # as the run of a model
            if with_files:
                present["artifacts"] = self.list_run_files(run)
            return
        if not run.ended:
            raise Invalid(
                "Run {name} has not ended.",
                name=run.name,
                code="run_open",
                field="/contents",
                limit="an ended run",
                hint=N_("Wait for its end: what it measures afterwards would not travel."),
            )
        ingest_batches(run_ids=[run.pk])
        run.refresh_from_db(fields=["metrics_digest", "metrics_count"])
        check_points(run)
        row = {
            **dump_fields(run, fields.RUN),
            "experiment": run.experiment.name,
            "params": {param.key: param.value for param in run.params.all()},
            "tags": {tag.key: tag.value for tag in run.tags.all()},
            "series": self.add_document(partial(list_series, run)),
            "artifacts": self.list_run_files(run) if with_files else [],
        }
        self.add_row("runs", row)
        name = f"{run.name} {run.pk[:8]}"
        self.add_content("run", name, run.metrics_digest or compute_digest({"run": run.pk}))
        self.add_lineage("run", run.pk)

    def list_run_files(self, run: Run) -> list[list[Any]]:
        files = RunArtifact.objects.filter(run=run).select_related("artifact").order_by("path")
        return [[file.path, self.add_artifact(file.artifact), file.size, file.media_type] for file in files]

    def add_lineage(self, type: str, id: str) -> None:
        """What it was made from, back to the first data."""
        graph = fetch_graph(self.actor, self.project, type, id, direction="up", depth=MAX_DEPTH)
        if graph.truncated:
            self.add_row("cut_lineages", {"name": f"{type} {graph.nodes[graph.root].label or id}"})
        for edge in graph.edges.values():
            row = {name: getattr(edge, name) for name in fields.EDGE}
            self.edges[tuple(row.values())] = row

    # -- the mirror -------------------------------------------------------------------------------------------------
    def add_image(self, tag: ImageTag) -> None:
        image: ContainerImage = tag.image
        layers = image.layers.select_related("artifact").order_by("position")
        row = {
            **dump_fields(image, fields.IMAGE),
            "repository": tag.repository,
            "tag": tag.tag,
            "manifest": self.add_bytes(bytes(image.manifest)),
            "config": self.add_artifact(image.config),
            "layers": [self.add_artifact(layer.artifact) for layer in layers],
        }
        self.add_row("images", row)
        self.add_content("image", str(tag), image.manifest_digest)

    def add_package_file(self, file: PackageFile) -> None:
        digest = self.add_artifact(file.artifact)
        self.add_row("packages", {"filename": file.filename, "artifact": digest})
        self.add_content("package", file.filename, file.artifact_id)

    def add_advisories(self) -> None:
        """The feed that counts here, as a file of the OSV schema."""
        feed = AdvisoryFeed.objects.order_by("-pk").first()
        if feed is None:
            raise build_absent_error("advisories")
        self.add_row("advisories", {"name": feed.name, "feed": self.add_document(partial(list_osv_records, feed))})
        self.add_content("advisories", feed.name, feed.digest)

    def add_conflicts(self) -> None:
        rules = ConflictRules.objects.order_by("-pk").first()
        if rules is None:
            raise build_absent_error("conflicts")
        document = {"format": FORMAT, "version": rules.version, "rules": rules.rules}
        digest = self.add_document(lambda: document)
        self.add_row("conflicts", {"version": rules.version, "digest": rules.digest, "rules": digest})
        self.add_content("conflicts", rules.version, rules.digest)

    # -- the whole --------------------------------------------------------------------------------------------------
    def encode(self) -> bytes:
        """The canonical text; `objects` names all bytes that the rows need, carried or not."""
        objects = [[digest, size] for digest, size in self.objects.items()]
        document = {"schema": SCHEMA, **self.rows, "edges": list(self.edges.values()), "objects": objects}
        return encode_canonical_json(json.loads(json.dumps(document, cls=DjangoJSONEncoder))).encode()

    def select_carried(self, present: frozenset[str]) -> list[ObjectRef]:
        """The objects that the target lacks; what was made for the bundle always goes."""
        return [
            ObjectRef(digest, size)
            for digest, size in self.objects.items()
            if digest in self.made or digest not in present
        ]


def check_points(run: Run) -> None:
    """Raise Invalid `too_many_points` for a run whose points cannot be one document."""
    count = run.metrics.aggregate(count=Sum("count"))["count"] or 0
    if count > MAX_SERIES_POINTS:
        raise Invalid(
            "Run {name} has more than {most} points.",
            name=run.name,
            most=MAX_SERIES_POINTS,
            code="too_many_points",
            field="/contents",
            limit=MAX_SERIES_POINTS,
            hint=N_("Leave the run out, or its model."),
        )


def list_series(run: Run) -> list[dict[str, Any]]:
    """The metrics of a run with every point and bucket."""
    return [
        {
            **dump_fields(metric, fields.METRIC),
            "points": list_values(MetricPoint.objects.filter(metric=metric), fields.POINT),
            "buckets": list_values(MetricBucket.objects.filter(metric=metric), fields.BUCKET),
        }
        for metric in run.metrics.order_by("pk")
    ]


def list_values(rows: QuerySet[Any], names: tuple[str, ...]) -> list[list[Any]]:
    return [list(row) for row in rows.order_by("pk").values_list(*names).iterator(chunk_size=5000)]


def list_osv_records(feed: AdvisoryFeed) -> list[dict[str, Any]]:
    return [build_osv_record(row) for row in Advisory.objects.filter(feed=feed).order_by("pk").iterator()]


def build_osv_record(row: Advisory) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": events} for events in row.affected.get("ranges", [])]
    package = {"ecosystem": "PyPI", "name": row.package_name}
    record: dict[str, Any] = {
        "id": row.advisory_id,
        "summary": row.summary,
        "aliases": row.aliases,
        "affected": [{"package": package, "versions": row.affected.get("versions", []), "ranges": ranges}],
        "database_specific": {"severity": row.severity} if row.severity else {},
    }
    return record | ({"modified": row.modified_at} if row.modified_at else {})


def build_absent_error(kind: str) -> Invalid:
    return Invalid(
        "This plane has no {kind} to carry.",
        kind=kind,
        code="content_unknown",
        field="/contents",
        hint=N_("Import them first, or leave them out."),
    )
