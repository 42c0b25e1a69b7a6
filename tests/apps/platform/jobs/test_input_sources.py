"""What earlier jobs made fills the slots of later ones."""

from dataclasses import replace

import pytest
from django.utils import timezone

from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.input_sources import MAX_JOBS, SOURCES, build_slot_choices, find_companions, list_output_choices
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import InputSpec, Submission

pytestmark = pytest.mark.django_db


@pytest.fixture
def made(project, add_artifact):
    """made("train", "a") -> a job of the project that made an output in every slot, digests beginning with this."""

    def make(kind, letter, state="succeeded", where=None):
        facts = {
            "kind": kind,
            "state": state,
            "spec": "{}",
            "grant": {},
            "time_limit_seconds": 60,
            "name": f"n{letter}",
        }
        job = Job.objects.create(project=where or project, **facts)
        for place, slot in enumerate(KINDS[kind].outputs):
            digest = f"{letter}{place}" + "0" * 62
            job.outputs.create(slot=slot, artifact=add_artifact(project, digest), name=slot, media_type="x/y")
        return job

    return make


@pytest.fixture
def offered(actor_for, engineer, project):
    return lambda kind: list_output_choices(actor_for(engineer), project, kind)


def test_every_slot_that_has_a_source_exists_on_both_sides():
    for kind, slots in SOURCES.items():
        known = {*KINDS[kind].inputs, *KINDS[kind].optional_inputs}
        assert set(slots) <= known
        assert known - set(slots) <= {"table", "texts", "calibration"}  # which a dataset or a file fills
        places = [(KINDS[source], slot) for sources, slot in slots.values() for source in sources]
        assert all(slot in source.outputs or source.any_outputs for source, slot in places)


def test_a_model_is_offered_and_brings_what_belongs_to_it(made, offered):
    old, new = made("train", "a"), made("train", "b")
    found = offered("compile")
    assert build_slot_choices("compile", "model", found) == [
        ("b0" + "0" * 62, f"model of #{new.pk} train, nb"),
        ("a0" + "0" * 62, f"model of #{old.pk} train, na"),
    ]
    assert find_companions("compile", "model", "a0" + "0" * 62, found) == {
        "manifest": "a1" + "0" * 62,
        "heldout": "a3" + "0" * 62,
    }


def test_a_version_is_gathered_from_jobs_of_three_kinds(made, offered):
    made("train", "a"), made("quantize", "b")
    found = offered("register")
    assert [digest[:2] for digest, _label in build_slot_choices("register", "int8_figures", found)] == ["b2"]
    assert build_slot_choices("register", "compiled", found) == []
    assert set(find_companions("register", "int8", "b0" + "0" * 62, found)) == {"int8_manifest", "int8_figures"}


def test_every_trained_model_is_offered_to_a_version(made, offered):
    """A kind that makes a model, its manifest and its figures of data makes the first form of a version."""
    kinds = {"train", "train_entities", "train_image", "train_language"}
    for letter, kind in zip("abcd", sorted(kinds), strict=True):
        made(kind, letter)
    found = offered("register")
    for ending in ("", "_manifest", "_figures"):
        choices = dict(build_slot_choices("register", f"fp32{ending}", found))
        assert {label.split()[3].strip(",") for label in choices.values()} == kinds
    model = next(choice.digest for choice in found if (choice.kind, choice.slot) == ("train_language", "model"))
    assert set(find_companions("register", "fp32", model, found)) == {"fp32_manifest", "fp32_figures"}


@pytest.mark.parametrize("kind", ["clean", "train", "noop"])
def test_kinds_that_take_tables_are_offered_none(kind, made, offered):
    made("train", "a")
    assert offered(kind) == []


def test_neither_failures_nor_other_projects(made, offered, other_project):
    made("train", "a", state="failed"), made("train", "b", where=other_project)
    assert offered("quantize") == []


def test_many_jobs_cost_no_more(made, actor_for, engineer, project, django_assert_num_queries):
    job, actor = made("train", "a"), actor_for(engineer)
    facts = {"kind": "train", "state": "succeeded", "spec": "{}", "grant": {}, "time_limit_seconds": 60}
    Job.objects.bulk_create(Job(project=project, **facts) for _ in range(MAX_JOBS))
    with django_assert_num_queries(5):
        assert list_output_choices(actor, project, "compile") == []  # the only one that made something is too old
    assert job.outputs.count() == 6


def test_a_job_takes_the_newest_schedules_of_its_project_by_itself(made, actor_for, engineer, project, other_project):
    """Not those of a job that failed, of another project, or that are damaged; and none over what is given."""
    made("train", "a")
    old, damaged, _ = made("compile", "b"), made("compile", "c"), made("compile", "d", state="failed")
    made("compile", "e", where=other_project)
    Artifact.objects.filter(pk=damaged.outputs.get(slot="schedules").artifact_id).update(damaged_at=timezone.now())
    model = {slot: f"a{KINDS['train'].outputs.index(slot)}" + "0" * 62 for slot in ("model", "manifest", "heldout")}
    newest = old.outputs.get(slot="schedules").artifact_id
    for given, expected in (({}, newest), ({"schedules": model["heldout"]}, model["heldout"])):
        inputs = [InputSpec(slot=slot, digest=digest) for slot, digest in (model | given).items()]
        submission = Submission(kind="compile", spec={}, inputs=inputs)
        job, _ = submit_job(actor=actor_for(engineer), project=project, submission=submission)
        assert job.inputs.get(slot="schedules").artifact_id == expected


def test_a_form_beside_the_recommended_one_brings_only_its_own_files(made, offered, monkeypatch):
    """Else a version would get every form of a quantization, and with them one that lost too much."""
    slots = (*KINDS["quantize"].outputs, "int8_onnx", "int8_onnx_manifest", "int8_onnx_figures", "int8_static")
    monkeypatch.setitem(KINDS, "quantize", replace(KINDS["quantize"], outputs=slots))
    made("quantize", "a")
    found = offered("register")
    digests = {slot: f"a{place:x}" + "0" * 62 for place, slot in enumerate(slots)}
    assert set(find_companions("register", "int8", digests["model"], found)) == {"int8_manifest", "int8_figures"}
    companions = find_companions("register", "int8_onnx", digests["int8_onnx"], found)
    assert companions == {slot: digests[slot] for slot in ("int8_onnx_manifest", "int8_onnx_figures")}
