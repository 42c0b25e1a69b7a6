"""Packages, images and evaluations: carried, and the same on the other side."""

import pytest

from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.services import add_files
from apps.data.datasets.versions.manifest import PARQUET
from apps.ml.experiments.models import Run
from apps.ml.registry.models import Evaluation, EvaluationSet, ModelVersion
from apps.ml.registry.services.evaluations import create_evaluation_set
from apps.site.mirror import services as mirror
from apps.site.mirror.environments import build_environments
from apps.site.mirror.models import ContainerImage, ImageTag, Package, PackageFile
from apps.site.transfer import services
from apps.site.transfer.queries import list_mirror_digests
from tests.apps.ml.registry.measured import write_evaluation
from tests.apps.site.transfer.conftest import SOURCE, become, trust
from tests.image_files import build_docker_archive
from tests.package_files import build_wheel, write_sums


def test_packages_and_images_come_for_the_plane(
    site, other_project, operator, build, receive, check, load, sysadmin, actor_for, tmp_path
):
    trust(other_project, "Ada", "Bo")
    (tmp_path / "wheels").mkdir()
    wheel = build_wheel(tmp_path / "wheels", "pump")
    write_sums(wheel.parent)
    mirror.import_folder(actor=operator, folder=wheel.parent, environments=build_environments())
    path = build_docker_archive(tmp_path / "app.tar")
    (tag,) = mirror.import_image(actor=operator, path=path, architecture="amd64")
    digest, layers = tag.image.manifest_digest, [layer.artifact_id for layer in tag.image.layers.all()]
    built = build(f"package/{wheel.name}", f"image/{tag}")
    present = check(receive(*built))
    assert {row["change"] for row in present.preview["rows"]} == {"present"}
    carried = list_mirror_digests(site.receiver)
    become(SOURCE)
    lean = build(f"package/{wheel.name}", f"image/{tag}", present=carried)
    assert lean[1].objects < built[1].objects
    assert check(receive(*lean)).state == "checked"
    ImageTag.objects.all().delete()
    ContainerImage.objects.all().delete()
    Package.objects.all().delete()
    bundle = check(present)
    assert {row["change"] for row in bundle.preview["rows"]} == {"new"}, bundle.error
    services.accept_plane_contents(actor=actor_for(sysadmin), bundle=bundle, reason="read")
    load(bundle)
    file = PackageFile.objects.get()
    assert (file.filename, file.version.package.name, file.metadata is None) == (wheel.name, "pump", False)
    image = ImageTag.objects.get(repository="demo/app").image
    assert (image.manifest_digest, [layer.artifact_id for layer in image.layers.all()]) == (digest, layers)


def test_a_wheel_that_is_here_and_not_published_is_published(
    site, other_project, operator, build, receive, check, load, sysadmin, actor_for, tmp_path, held
):
    """Its bytes are in the inventory, as a file of the project, so they are not carried."""
    trust(other_project, "Ada", "Bo")
    wheel = build_wheel(tmp_path, "pump")
    write_sums(tmp_path)
    mirror.import_folder(actor=operator, folder=tmp_path, environments=build_environments())
    artifact = held(wheel.read_bytes(), other_project)
    built = build(f"package/{wheel.name}", present=[artifact.pk])
    Package.objects.all().delete()
    bundle = check(receive(*built))
    assert bundle.state == "checked", bundle.error
    assert bundle.preview["rows"][0]["detail"] == "a new package pump; its bytes are here, and not published"
    services.accept_plane_contents(actor=actor_for(sysadmin), bundle=bundle, reason="read")
    load(bundle)
    assert PackageFile.objects.get().artifact_id == artifact.pk


@pytest.fixture
def measured(site, project, registered, held):
    """A version of a model with an evaluation on a set whose data is `later:v1`."""
    version, table = registered(), held(b"a table")
    add_files(actor=site.builder, project=project, dataset_name="later", files=[("t.parquet", table.pk, PARQUET)])
    data = DatasetVersion.objects.get(dataset__name="later")
    DatasetVersion.objects.update(columns=[{"name": name, "dtype": "double"} for name in ("close", "region")])
    data.refresh_from_db()
    about = {"name": "later", "task": "forecast", "target": "close"}
    on = create_evaluation_set(actor=site.builder, project=project, dataset_version=data, **about)
    write_evaluation(held, version.variants.order_by("pk").first(), on, 1.25)
    return version


def test_evaluations_travel_with_their_data(site, measured, other_project, build, receive, check, load):
    trust(other_project, "Ada", "Bo")
    before = Evaluation.objects.get()
    alone, both = build("model/wti-forecast:v1"), build("model/wti-forecast:v1", "data/later:v1")
    for run in Run.objects.all():
        run.model_versions.update(run=None)
        run.delete()
    load(check(receive(*alone)))
    assert not EvaluationSet.objects.filter(project=other_project).exists()
    load(check(receive(*both)))
    arrived = Evaluation.objects.get(set__project=other_project)
    version = ModelVersion.objects.get(model__project=other_project)
    assert (arrived.document, arrived.metrics, arrived.job_id) == (before.document, before.metrics, 0)
    assert (arrived.version, arrived.set.spec) == (version, before.set.spec)
    assert arrived.set.dataset_version.dataset.project == other_project
