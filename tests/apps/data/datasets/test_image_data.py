"""The dataset version that a training on images names: found when it is submitted, each image under its path."""

from __future__ import annotations

import pytest

from apps.core.errors import PlaneError
from apps.data.datasets.versions.image_data import build_image_slot, list_image_versions
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import InputSpec, Submission


@pytest.fixture
def submit_training(project, engineer, actor_for):
    def submit(images: str = "", inputs=(), who=None) -> Job:
        submission = Submission(kind="train_image", spec={"images": images}, inputs=list(inputs))
        return submit_job(actor=who or actor_for(engineer), project=project, submission=submission)[0]

    return submit


@pytest.fixture
def images(added, held):
    """A version of two images with their table, and a file that is none."""
    files = {"images.csv": held(b"path,label\n"), "cat/1.png": held(b"1"), "dog/2.JPG": held(b"2"), "notes": held(b"n")}
    return added(files, media_type="text/csv")[0]


def test_images_and_their_table_become_inputs(submit_training, images):
    job = submit_training("wti-daily:v1")
    assert set(job.inputs.values_list("slot", flat=True)) == {
        "images/images.csv",
        "images/cat/1.png",
        "images/dog/2.JPG",
    }


def test_inputs_of_a_job_that_is_run_again_are_no_others(submit_training, images):
    first = submit_training("wti-daily:v1")
    inputs = [InputSpec(slot=each.slot, digest=each.artifact_id) for each in first.inputs.all()]
    assert submit_training("wti-daily:v1", inputs).inputs.count() == 3


def test_what_is_not_there_is_named(submit_training, images, added, held):
    added({"two.csv": held(b"a\n2\n")})
    cases = {
        "wti-daily:v9": ("data_unknown", "/spec/images"),
        "nothing:v1": ("data_unknown", "/spec/images"),
        "wti-daily:v2": ("no_images", "/spec/images"),
        "wti-daily:newest": ("spec_string_pattern_mismatch", "/spec/images"),
        "": ("input_missing", "/spec/images"),
    }
    wrong = {}
    for named, expected in cases.items():
        with pytest.raises(PlaneError) as failure:
            submit_training(named)
        found = [(error["code"], error["field"]) for error in failure.value.errors]
        if found != [expected]:
            wrong[named] = found
    assert wrong == {}
    assert not Job.objects.exists()


def test_an_evaluation_takes_images_in_the_place_of_its_table(project, engineer, actor_for, images, held):
    def submit(spec, *slots):
        inputs = [InputSpec(slot=slot, digest=held(slot.encode()).digest) for slot in ("model", "manifest", *slots)]
        submission = Submission(kind="evaluate", spec=spec, inputs=inputs)
        return submit_job(actor=actor_for(engineer), project=project, submission=submission)[0]

    slots = set(submit({"images": "wti-daily:v1"}).inputs.values_list("slot", flat=True))
    assert slots == {"model", "manifest", "table/images.csv", "table/cat/1.png", "table/dog/2.JPG"}
    assert submit({}, "table/1.png").inputs.count() == 3
    cases = {
        "neither": ({}, [], ("input_missing", "/inputs/table")),
        "both": ({"images": "wti-daily:v1"}, ["table"], ("duplicate_slot", "/inputs/table")),
        "no version": ({"images": "wti-daily:v9"}, ["table"], ("data_unknown", "/spec/images")),
        "a base twice": ({}, ["table", "base", "base/config.json"], ("duplicate_slot", "/inputs/base")),
        "another folder": ({}, ["table", "images/1.png"], ("unknown_slot", "/inputs/images/1.png")),
    }
    wrong = {}
    for name, (spec, more, expected) in cases.items():
        with pytest.raises(PlaneError) as failure:
            submit(spec, *more)
        errors = [(error["code"], error["field"]) for error in failure.value.errors]
        if errors != [expected]:
            wrong[name] = errors
    assert wrong == {}


def test_a_slot_that_is_no_folder_of_this_kind(submit_training, images, held):
    with pytest.raises(PlaneError) as failure:
        submit_training("wti-daily:v1", [InputSpec(slot="table", digest=held(b"t").digest)])
    assert [error["code"] for error in failure.value.errors] == ["unknown_slot"]


def test_a_path_that_no_input_can_have():
    with pytest.raises(PlaneError) as failure:
        build_image_slot("folder/" * 36 + "1.png")
    assert failure.value.errors[0]["code"] == "too_long"


def test_forms_offer_versions_of_images(project, engineer, actor_for, stranger, images, added, held):
    added({"two.csv": held(b"a\n2\n")})
    assert list_image_versions(actor_for(engineer), project) == [images]
    assert list_image_versions(actor_for(stranger), project) == []
