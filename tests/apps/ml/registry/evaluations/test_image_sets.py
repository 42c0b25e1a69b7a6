"""Models of images on evaluation sets: a job takes the images of the set's version, and no others are registered."""

import json

import pytest

from apps.data.datasets.models import DatasetFile
from apps.ml.registry.evaluations.image_sets import compare_data, takes_images
from apps.ml.registry.services.evaluations import submit_evaluation

pytestmark = pytest.mark.django_db


@pytest.fixture
def image_set(a_set, dataset_version, held):
    """A set of a version with two images and the table of their labels."""
    dataset_version.columns = [{"name": name, "dtype": "string"} for name in ("path", "label")]
    dataset_version.save()
    dataset_version.files.all().delete()
    for path, media_type in (("images.csv", "text/csv"), ("cat/1.png", "image/png"), ("dog/2.png", "image/png")):
        artifact = held(path.encode())
        DatasetFile.objects.create(version=dataset_version, path=path, artifact=artifact, media_type=media_type)
    return a_set(task="classification", target="label")


@pytest.fixture
def image_version(registered):
    version = registered(names=("fp32",))
    document = json.loads(version.document) | {"architecture": {"type": "image"}}
    version.document, version.task, version.target = json.dumps(document), "classification", "label"
    version.save()
    return version


def test_a_model_of_images_is_measured_on_the_files_of_the_set(actor_for, engineer, image_version, image_set):
    job, new = submit_evaluation(actor=actor_for(engineer), version=image_version, on=image_set)
    assert new
    slots = set(job.inputs.values_list("slot", flat=True))
    assert slots == {"model", "manifest", "table/images.csv", "table/cat/1.png", "table/dog/2.png"}
    assert json.loads(job.spec)["images"] == "later:v1"


def test_only_the_images_of_the_set_are_compared_as_such(image_set, registered):
    files = {f"table/{file.path}": file.artifact_id for file in image_set.dataset_version.files.all()}
    fewer = {slot: digest for slot, digest in files.items() if slot != "table/dog/2.png"}
    other = files | {"table/dog/2.png": "f" * 64}
    cases = {"all": (files, True), "fewer": (fewer, False), "another": (other, False)}
    found = {}
    for name, (inputs, _) in cases.items():
        compared = compare_data({"table": "d" * 64}, inputs | {"model": "m" * 64}, image_set)
        found[name] = all(left == right for left, right in compared.values())
    assert found == {name: expected for name, (_, expected) in cases.items()}
    table = {"table": image_set.table_id}
    assert all(left == right for left, right in compare_data(table, table, image_set).values())
    assert not takes_images(registered())
