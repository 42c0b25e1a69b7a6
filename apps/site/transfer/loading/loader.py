"""The rows of a bundle into a project, in the caller's transaction, in the order in which they need each other.

Names are kept, numbers are given anew. What is there already, byte for byte, is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.versions.manifest import PARQUET, VersionFile, check_media_type, render_manifest
from apps.data.datasets.versions.registration import add_version, ensure_dataset
from apps.ml.registry.evaluation_models import Evaluation, EvaluationSet
from apps.ml.registry.models import Model, ModelVersion, ModelVersionFile, Variant
from apps.ml.registry.models import ModelVersionTag as VersionTag
from apps.ml.registry.services.models import insert_model, lock_model
from apps.ml.registry.services.validation import check_any_name, check_tag
from apps.platform.accounts.models import Project
from apps.platform.artifacts.store import StoredBytes
from apps.platform.audit.services import record
from apps.platform.lineage.services import record_with
from apps.site.transfer.export import fields
from apps.site.transfer.export.rows import build_catalogue_error, load_row
from apps.site.transfer.loading.catalogue import IncomingCatalogue
from apps.site.transfer.loading.holdings import BundleHoldings
from apps.site.transfer.loading.integrity import check_file_name, check_member_path, check_named_files
from apps.site.transfer.loading.lineage import LineageMap
from apps.site.transfer.loading.mirror import MirrorLoader, PackageUpload
from apps.site.transfer.loading.runs import load_run
from deepseek.tables.part_manifest import is_part_path


class BundleLoader:
    """Makes the rows; `load` returns what became of each: [{kind, name}]."""

    def __init__(
        self,
        actor: Actor,
        project: Project,
        catalogue: IncomingCatalogue,
        stored: dict[str, StoredBytes],
        uploads: Sequence[PackageUpload],
    ) -> None:
        self.actor, self.project, self.catalogue, self.stored = actor, project, catalogue, stored
        self.uploads = uploads
        self.holdings = BundleHoldings(actor, project, catalogue, stored)
        self.lineage = LineageMap(catalogue.manifest)
        self.versions: dict[Any, ModelVersion] = {}
        self.data: dict[Any, DatasetVersion] = {}
        self.report: list[dict[str, str]] = []

    def load(self) -> list[dict[str, str]]:
        rows = self.catalogue.rows
        for row in rows["dataset_versions"]:
            self.load_dataset_version(row)
        for row in rows["runs"]:
            run, is_new = load_run(self.actor, self.project, self.catalogue, row, self.holdings.hold)
            self.lineage.add("run", row.get("id"), "run", run.pk, run.metrics_digest, run.name)
            self.note("run", run.name, is_new)
        for row in rows["model_versions"]:
            self.load_model_version(row)
        for row in rows["evaluations"]:
            self.load_evaluation(row)
        mirror = MirrorLoader(self.actor, self.catalogue, self.stored, self.uploads)
        self.report += mirror.load()
        record_with(self.project, self.lineage.build_edges(rows["edges"]))
        return self.report

    def note(self, kind: str, name: str, is_new: bool) -> None:
        if is_new:
            self.report.append({"kind": kind, "name": name})

    # -- data -------------------------------------------------------------------------------------------------------
    def load_dataset_version(self, row: dict[str, Any]) -> None:
        values = load_row(DatasetVersion, row, fields.DATASET_VERSION)
        files = [read_file(each) for each in read_list(row, "files")]
        artifacts = self.holdings.hold([(digest, path, media_type) for path, digest, media_type in files])
        members = [(path, artifacts[digest], media_type) for path, digest, media_type in files]
        if sha256_hex(render_manifest(members)) != values.digest:
            raise build_catalogue_error("dataset_versions", f"{values.digest[:12]} does not name its files")
        check_media_type(values.media_type, "media_type")
        dataset = ensure_dataset(actor=self.actor, project=self.project, name=str(row.get("dataset")))
        quality = row.get("quality")
        version, is_new = add_version(
            actor=self.actor,
            dataset=dataset,
            files=members,
            media_type=values.media_type,
            rows=values.rows,
            columns=values.columns,
            script=values.script,
            params=values.params,
            quality=self.holdings.hold_one(quality, "quality.json", "application/json") if quality else None,
            note=values.note,
            part_rows=read_part_rows(row, members, values.rows),
        )
        self.data[row.get("id")] = version
        self.lineage.add("dataset_version", row.get("id"), "dataset_version", version.pk, version.digest, str(version))
        self.note("dataset_version", str(version), is_new)

    # -- models -----------------------------------------------------------------------------------------------------
    def load_model_version(self, row: dict[str, Any]) -> None:
        values = load_row(ModelVersion, row, fields.MODEL_VERSION)
        if sha256_hex(values.document) != values.digest:
            raise build_catalogue_error("model_versions", f"{values.digest[:12]} does not name its document")
        locked = lock_model(self.get_or_create_model(row))
        version = ModelVersion.objects.select_related("model").filter(model=locked, digest=values.digest).first()
        is_new = version is None
        if version is None:
            version = self.insert_version(locked, values, row)
        self.versions[row.get("id")] = version
        self.lineage.add("model_version", row.get("id"), "model_version", version.pk, version.digest, str(version))
        forms = {variant.name: variant for variant in version.variants.all()}
        for each in read_list(row, "variants"):
            if isinstance(each, dict) and (variant := forms.get(str(each.get("name")))):
                self.lineage.add("variant", each.get("id"), "variant", variant.pk, variant.artifact_id, str(variant))
        self.note("model_version", str(version), is_new)

    def get_or_create_model(self, row: dict[str, Any]) -> Model:
        name = str(row.get("model"))
        check_any_name(name)
        model = Model.objects.filter(project=self.project, name=name, deleted_at=None).first()
        return model or insert_model(self.actor, self.project, name, str(row.get("model_description") or "")[:5000])

    def insert_version(self, model: Model, version: ModelVersion, row: dict[str, Any]) -> ModelVersion:
        """The next version of a locked model: document, figures and provenance as they were, no alias, no approval."""
        check_named_files(row)
        number = model.versions_count + 1
        Model.objects.filter(pk=model.pk).update(versions_count=number, touched_at=timezone.now())
        version.model, version.number = model, number
        run = row.get("run")
        version.run_id = run if self.lineage.has("run", run) else None
        version.save(force_insert=True)
        forms: dict[str, Variant] = {}
        for each in read_list(row, "variants"):
            forms[str(each.get("name"))] = self.insert_variant(version, each, forms)
        files = [read_sized_file(each) for each in read_list(row, "files")]
        artifacts = self.holdings.hold([(digest, path, media_type) for path, digest, _, media_type in files])
        ModelVersionFile.objects.bulk_create(
            ModelVersionFile(version=version, artifact=artifacts[digest], path=path, size=size, media_type=media_type)
            for path, digest, size, media_type in files
        )
        tags = {str(key): str(value) for key, value in dict(row.get("tags") or {}).items()}
        for key, value in tags.items():
            check_tag(key, value)
        VersionTag.objects.bulk_create(VersionTag(version=version, key=key, value=value) for key, value in tags.items())
        record(
            actor=self.actor,
            action="model.transfer_version",
            obj=version,
            after={"model": model.name, "number": number, "variants": list(forms), "from": self.lineage.source.name},
            digests={"version": version.digest, **{name: form.artifact_id for name, form in forms.items()}},
        )
        return version

    def insert_variant(self, version: ModelVersion, row: dict[str, Any], others: dict[str, Variant]) -> Variant:
        parent = row.get("parent")
        artifact = self.holdings.hold_one(row.get("artifact"), str(row.get("file") or "model"))
        manifest = self.holdings.hold_one(row.get("manifest"), "manifest.json", "application/json")
        variant = load_row(
            Variant,
            row,
            fields.VARIANT,
            version=version,
            artifact=artifact,
            manifest=manifest,
            parent=others.get(str(parent)) if parent else None,
        )
        check_file_name(variant.name)
        check_file_name(variant.file)
        variant.save(force_insert=True)
        return variant

    def load_evaluation(self, row: dict[str, Any]) -> None:
        """What the source measured: on the set of this name here, or on one that is made for it. No job here did it."""
        data, version = self.data.get(row.get("data")), self.versions.get(row.get("version"))
        if data is None or version is None:
            raise build_catalogue_error("evaluations", "its data or its model version is not in the bundle")
        variant = version.variants.filter(name=str(row.get("variant"))).first()
        if variant is None:
            raise build_catalogue_error("evaluations", "its variant is not in the bundle")
        on = self.get_or_create_set(row, data)
        evaluation = load_row(
            Evaluation,
            row,
            fields.EVALUATION,
            set=on,
            version=version,
            variant=variant,
            job_id=0,
            artifact=self.holdings.hold_one(row.get("artifact"), "evaluation.json", "application/json"),
            replicates=self.holdings.hold_one(row.get("replicates"), "replicates.bin"),
        )
        if not Evaluation.objects.filter(variant=variant, set=on, job_id=0).exists():
            evaluation.save(force_insert=True)
            self.note("evaluation", f"{version} on {on}", True)

    def get_or_create_set(self, row: dict[str, Any], data: DatasetVersion) -> EvaluationSet:
        table = self.holdings.hold_one(row.get("table"), "table")
        values = load_row(
            EvaluationSet,
            row.get("set"),
            fields.EVALUATION_SET,
            project=self.project,
            number=1,
            dataset_version=data,
            table=table,
        )
        current = EvaluationSet.objects.filter(project=self.project, name=values.name, superseded_at=None).first()
        if current is not None:
            if current.table_id != table.pk or current.spec != values.spec:
                raise build_catalogue_error("evaluations", f"{current} is another set here")
            return current
        values.save(force_insert=True)
        after = {"name": values.name, "from": self.lineage.source.name}
        record(actor=self.actor, action="evaluation_set.create", obj=values, after=after, digests={"table": table.pk})
        return values


def read_list(row: dict[str, Any], name: str) -> list[Any]:
    value = row.get(name)
    if not isinstance(value, list):
        raise build_catalogue_error(name, "it is no list")
    return value


def read_file(each: Any) -> tuple[str, str, str]:
    """(path, digest, media type)"""
    match each:
        case [str(path), str(digest), str(media_type)]:
            return path, digest, media_type
    raise build_catalogue_error("files", "an entry is no path with a digest and a media type")


def read_part_rows(row: dict[str, Any], files: Sequence[VersionFile], total: int | None) -> dict[str, int] | None:
    """{path: rows} of a version whose files are the parts of one table; None of any other."""
    match row.get("part_rows"):
        case None:
            return None
        case dict() as rows if rows and all(type(count) is int and count >= 0 for count in rows.values()):
            are_parts = all(kind == PARQUET and is_part_path(path) for path, _, kind in files)
            if are_parts and rows.keys() == {path for path, _, _ in files} and sum(rows.values()) == total:
                return rows
    raise build_catalogue_error("part_rows", "these are not the rows of each of its files")


def read_sized_file(each: Any) -> tuple[str, str, int, str]:
    """(path, digest, size, media type)"""
    match each:
        case [str(path), str(digest), int(size), str(media_type)] if 0 < len(path) <= 500 and len(media_type) <= 120:
            return check_member_path(path), digest, size, media_type
    raise build_catalogue_error("files", "an entry is no path with a digest, a size and a media type")
