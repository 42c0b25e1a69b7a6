"""What a bundle will change here, row by row: new, present already, or in conflict with what has its name.

Reads only; two calls give the same rows as long as nothing here changes, so their digest is a fact of the approval.
"""

from __future__ import annotations

from typing import Any

from apps.core.errors import PlaneError
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.versions.registration import check_name
from apps.ml.experiments.models import Run
from apps.ml.registry.models import EvaluationSet, Model, ModelVersion
from apps.ml.registry.services.validation import check_any_name
from apps.platform.accounts.models import Project
from apps.platform.lineage.queries import MAX_NODES
from apps.platform.nodes.models import ConflictRules
from apps.site.mirror.models import AdvisoryFeed, ContainerImage, ImageTag, Package, PackageFile
from apps.site.mirror.services.index_rows import check_name as check_package_name
from apps.site.transfer.loading.catalogue import IncomingCatalogue

NEW, PRESENT, CONFLICT = "new", "present", "conflict"
Row = dict[str, str]
"""{kind, name, change, detail}; `detail` says under which number, or what stands in the way."""


def build_preview(project: Project, catalogue: IncomingCatalogue) -> list[Row]:
    rows = catalogue.rows
    parts = (
        (preview_dataset_version(project, row) for row in rows["dataset_versions"]),
        (preview_run(project, row) for row in rows["runs"]),
        (preview_model_version(project, row) for row in rows["model_versions"]),
        (preview_evaluation(project, row) for row in rows["evaluations"]),
        (preview_image(row) for row in rows["images"]),
        (preview_package(row, catalogue) for row in rows["packages"]),
        (preview_advisories(row) for row in rows["advisories"]),
        (preview_conflicts(row) for row in rows["conflicts"]),
        (preview_cut_lineage(row) for row in rows["cut_lineages"]),
    )
    return [row for part in parts for row in part]


def build_row(kind: str, name: Any, change: str, detail: str = "") -> Row:
    return {"kind": kind, "name": str(name)[:200], "change": change, "detail": detail[:300]}


def preview_dataset_version(project: Project, row: dict[str, Any]) -> Row:
    name, digest = str(row.get("dataset", "")), row.get("digest")
    label = f"{name} {str(digest)[:12]}"
    if refusal := find_refusal(check_name, name):
        return build_row("dataset_version", label, CONFLICT, refusal)
    dataset = Dataset.objects.filter(project=project, name=name).first()
    if dataset is None:
        return build_row("dataset_version", label, NEW, f"in a new dataset {name}")
    existing = DatasetVersion.objects.filter(dataset=dataset, digest=digest).first()
    if existing is not None and existing.deleted_at is None:
        return build_row("dataset_version", label, PRESENT, str(existing))
    if dataset.expectations:
        return build_row("dataset_version", label, CONFLICT, f"{name} has expectations that a job here must check")
    return build_row("dataset_version", label, NEW, f"after {name} v{dataset.versions_count}")


def preview_run(project: Project, row: dict[str, Any]) -> Row:
    label = f"{row.get('name')} {str(row.get('id'))[:8]}"
    run = Run.objects.filter(pk=row.get("id")).first()
    if run is None:
        return build_row("run", label, NEW, f"in {row.get('experiment')}")
    same = run.project_id == project.pk and run.metrics_digest == row.get("metrics_digest")
    return build_row("run", label, PRESENT if same else CONFLICT, "" if same else "another run has its id")


def preview_model_version(project: Project, row: dict[str, Any]) -> Row:
    name, digest = str(row.get("model", "")), row.get("digest")
    label = f"{name} {str(digest)[:12]}"
    if refusal := find_refusal(check_any_name, name):
        return build_row("model_version", label, CONFLICT, refusal)
    model = Model.objects.filter(project=project, name=name, deleted_at=None).first()
    if model is None:
        return build_row("model_version", label, NEW, f"in a new model {name}")
    existing = ModelVersion.objects.filter(model=model, digest=digest).first()
    if existing is None:
        return build_row("model_version", label, NEW, f"after {name} v{model.versions_count}")
    if existing.deleted_at is not None:
        return build_row("model_version", label, CONFLICT, f"{existing} was deleted here")
    return build_row("model_version", label, PRESENT, str(existing))


def preview_evaluation(project: Project, row: dict[str, Any]) -> Row:
    name = str(dict(row.get("set") or {}).get("name"))
    current = EvaluationSet.objects.filter(project=project, name=name, superseded_at=None).first()
    if current is not None and current.table_id != row.get("table"):
        return build_row("evaluation", name, CONFLICT, f"{current} is of another table")
    return build_row("evaluation", name, NEW, f"on {current or name}")


def preview_image(row: dict[str, Any]) -> Row:
    name, digest = f"{row.get('repository')}:{row.get('tag')}", row.get("manifest_digest")
    tag = ImageTag.objects.select_related("image").filter(repository=row.get("repository"), tag=row.get("tag")).first()
    if tag is not None and tag.image.manifest_digest != digest:
        return build_row("image", name, CONFLICT, f"leads to {tag.image.manifest_digest[:12]} here")
    if tag is not None:
        return build_row("image", name, PRESENT)
    exists = ContainerImage.objects.filter(manifest_digest=digest).exists()
    return build_row("image", name, NEW, "another name of an image that is here" if exists else "")


def preview_package(row: dict[str, Any], catalogue: IncomingCatalogue) -> Row:
    filename = str(row.get("filename"))
    file = PackageFile.objects.filter(filename=filename).first()
    if file is not None:
        same = file.artifact_id == row.get("artifact")
        return build_row("package", filename, PRESENT if same else CONFLICT, "" if same else "other bytes are here")
    name = filename.partition("-")[0].replace("_", "-").lower()
    refusal = find_refusal(lambda text: check_package_name(text, None), name)
    if refusal:
        return build_row("package", filename, CONFLICT, refusal)
    details = [] if Package.objects.filter(name=name).exists() else [f"a new package {name}"]
    if not catalogue.is_carried(row.get("artifact")):
        details.append("its bytes are here, and not published")
    return build_row("package", filename, NEW, "; ".join(details))


def preview_cut_lineage(row: dict[str, Any]) -> Row:
    """The source has more ancestors of it than a bundle carries."""
    return build_row("lineage", row.get("name"), NEW, f"cut at {MAX_NODES} objects: what is farther is not carried")


def preview_advisories(row: dict[str, Any]) -> Row:
    current = AdvisoryFeed.objects.order_by("-pk").first()
    return build_row("advisories", row.get("name"), NEW, f"in place of {current}" if current else "")


def preview_conflicts(row: dict[str, Any]) -> Row:
    current = ConflictRules.objects.order_by("-pk").first()
    if current is not None and current.digest == row.get("digest"):
        return build_row("conflicts", row.get("version"), PRESENT)
    return build_row("conflicts", row.get("version"), NEW, f"in place of {current}" if current else "")


def find_refusal(check: Any, value: str) -> str:
    """Why a name cannot be taken; "" where it can."""
    try:
        check(value)
    except PlaneError as error:
        return str(error.message)
    return ""
