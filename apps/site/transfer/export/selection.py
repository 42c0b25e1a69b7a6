"""What a bundle is to carry: references such as `data/wti:v3`, each looked up among what the asker may see."""

from __future__ import annotations

import re
from collections.abc import Sequence

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetVersion
from apps.ml.experiments.models import Run
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import Project
from apps.platform.accounts.security_labels import get_label_name
from apps.site.mirror.models import ContainerImage, ImageTag, Package, PackageFile
from apps.site.transfer.export.catalogue import Catalogue
from deepseek.messages import N_

VERSION = re.compile(r"(?P<name>.{1,256}):v?(?P<number>[0-9]{1,9})")
FORMS = "data/NAME:v1, model/NAME:v1, run/ID, image/NAME:TAG, package/FILE, advisories, conflicts"
MAX_REFERENCES = 1_000


def add_contents(catalogue: Catalogue, references: Sequence[str]) -> None:
    """Add everything that the references name. Raises Invalid `content_unknown` for the first that names nothing."""
    if not 1 <= len(references) <= MAX_REFERENCES:
        raise Invalid(
            "The bundle names {count} contents.",
            count=len(references),
            code="content_unknown",
            field="/contents",
            limit=f"1 to {MAX_REFERENCES}",
            hint=N_("Name what it is to carry."),
        )
    for place, reference in enumerate(dict.fromkeys(references)):
        add_content(catalogue, reference, f"/contents/{place}")
    catalogue.add_evaluations()


def add_content(catalogue: Catalogue, reference: str, field: str) -> None:
    actor, project = catalogue.actor, catalogue.project
    kind, _, name = reference.partition("/")
    if kind == "data" and (data := find_dataset_version(actor, project, name)):
        catalogue.add_dataset_version(data)
    elif kind == "model" and (model := find_model_version(actor, project, name)):
        catalogue.add_model_version(model)
    elif kind == "run" and (run := find_run(actor, project, name)):
        catalogue.add_run(run, with_files=True)
    elif kind == "image" and (tag := find_image(actor, name)):
        catalogue.add_image(tag)
    elif kind == "package" and (file := find_package_file(actor, name)):
        catalogue.add_package_file(file)
    elif reference == "advisories":
        catalogue.add_advisories()
    elif reference == "conflicts":
        catalogue.add_conflicts()
    else:
        raise Invalid(
            "There is no {reference!r} here, or you may not see it.",
            reference=reference[:120],
            code="content_unknown",
            field=field,
            limit=FORMS,
            hint=N_("List what the project has, and name it in one of these forms."),
        )


def find_dataset_version(actor: Actor, project: Project, text: str) -> DatasetVersion | None:
    """A version of a dataset without a security label: on another plane the label would hold nobody back, and here
    every member reads the volumes."""
    match = VERSION.fullmatch(text)
    if match is None:
        return None
    rows = DatasetVersion.objects.visible_to(actor).select_related("dataset", "quality")
    version = rows.filter(dataset__project=project, dataset__name=match["name"], number=int(match["number"])).first()
    if version is not None and version.dataset.security_label:
        raise Invalid(
            "{version} has the security label {label}.",
            version=version,
            label=get_label_name(version.dataset.security_label),
            code="content_labelled",
            field="/contents",
            limit=get_label_name(0),
            hint=N_("A label does not travel. Have the security administrator take it off, or leave the data out."),
        )
    return version


def find_model_version(actor: Actor, project: Project, text: str) -> ModelVersion | None:
    """A version that is not blocked: what must not be used here is not carried elsewhere."""
    match = VERSION.fullmatch(text)
    if match is None:
        return None
    rows = ModelVersion.objects.visible_to(actor).select_related("model", "run__experiment")
    version = rows.filter(model__project=project, model__name=match["name"], number=int(match["number"])).first()
    if version is not None and version.blocks.filter(lifted_at=None).exists():
        raise Invalid(
            "{version} is blocked.",
            version=version,
            code="version_blocked",
            field="/contents",
            hint=N_("Lift the block first, or leave it out."),
        )
    return version


def find_run(actor: Actor, project: Project, text: str) -> Run | None:
    runs = Run.objects.visible_to(actor).active().select_related("experiment")
    return runs.filter(project=project, pk=text).first()


def find_image(actor: Actor, text: str) -> ImageTag | None:
    repository, _, tag = text.rpartition(":")
    images = ContainerImage.objects.visible_to(actor)
    tags = ImageTag.objects.filter(repository=repository, tag=tag, image__in=images)
    return tags.select_related("image__config").first()


def find_package_file(actor: Actor, text: str) -> PackageFile | None:
    packages = Package.objects.visible_to(actor)
    files = PackageFile.objects.filter(filename=text, version__package__in=packages, version__yanked_at=None)
    return files.select_related("artifact").first()
