"""What earlier jobs made fills the slots of later ones."""

import pytest

from apps.platform.jobs.input_sources import MAX_JOBS, SOURCES, build_slot_choices, find_companions, list_output_choices
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job

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
        assert known - set(slots) <= {"table", "texts"}  # which a dataset fills
        assert all(slot in KINDS[source].outputs for sources, slot in slots.values() for source in sources)


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
    with django_assert_num_queries(2):
        assert list_output_choices(actor, project, "compile") == []  # the only one that made something is too old
    assert job.outputs.count() == 6
