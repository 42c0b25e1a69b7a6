"""Which runs and model versions came of the jobs that took a dataset version."""

from types import SimpleNamespace

import pytest
from django.template import Context
from django.template.loader import render_to_string

from apps.core.canonical import sha256_hex
from apps.ml.experiments.models import Experiment, Run
from apps.ml.registry.models import Model, ModelVersion
from apps.platform.jobs.models import Job
from apps.web.templatetags.dataset_uses import MAX_ROWS, get_uses

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def seen_by(actor_for, project):
    """seen_by(user) -> the context of a page of the project that this person looks at."""
    return lambda user: Context({"request": SimpleNamespace(actor=actor_for(user), project=project)})


@pytest.fixture
def trained(project):
    """trained(count) -> jobs, each with a run and a version of the model wti."""
    experiment = Experiment.objects.get_or_create(project=project, number=0, defaults={"name": "Default"})[0]
    model = Model.objects.create(project=project, name="wti", created_by="x")

    def make(count: int) -> list[Job]:
        facts = {"spec": "{}", "spec_digest": "0" * 64, "queue": "cpu", "time_limit_seconds": 60, "grant": {}}
        jobs = [Job.objects.create(project=project, kind="train", **facts) for _ in range(count)]
        for number, job in enumerate(jobs, 1):
            run = Run.objects.create(
                id=f"{number:032x}", project=project, experiment=experiment, name=f"run {number}", job=job
            )
            told = {"digest": sha256_hex(str(number)), "document": "{}", "created_by": "x"}
            ModelVersion.objects.create(model=model, number=number, run=run, **told)
        return jobs

    return make


def test_runs_and_models_newest_first(seen_by, engineer, trained):
    uses = get_uses(seen_by(engineer), trained(2))
    assert [run["label"] for run in uses["runs"]] == ["run 2", "run 1"]
    assert [(one["label"], one["url"]) for one in uses["models"]] == [
        ("wti v2", "/p/demo/models/wti/2"),
        ("wti v1", "/p/demo/models/wti/1"),
    ]
    assert (uses["more_runs"], uses["more_models"]) == (False, False)


def test_runs_are_told_apart_by_id_and_time(seen_by, engineer, trained):
    page = render_to_string("datasets/used_by.html", {"users": trained(2), **seen_by(engineer).flatten()})
    assert page.count("run 00000000, <time") == 2


def test_no_more_than_a_card_holds(seen_by, engineer, trained):
    uses = get_uses(seen_by(engineer), trained(MAX_ROWS + 1))
    assert (len(uses["runs"]), len(uses["models"]), uses["more_runs"], uses["more_models"]) == (
        MAX_ROWS,
        MAX_ROWS,
        True,
        True,
    )


def test_who_is_no_member_sees_none(seen_by, stranger, trained):
    uses = get_uses(seen_by(stranger), trained(1))
    assert (uses["runs"], uses["models"]) == ([], [])


def test_it_costs_two_queries(seen_by, engineer, trained, django_assert_num_queries):
    jobs, context = trained(4), seen_by(engineer)
    with django_assert_num_queries(2):
        get_uses(context, jobs)
