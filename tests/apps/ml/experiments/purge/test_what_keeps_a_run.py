"""Versions, approvals, lineage, jobs and holds keep a deleted run."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection
from django.utils import timezone

from apps.core.errors import NotFound
from apps.ml.experiments.models import (
    LoggedModel,
    LoggedModelMetric,
    MetricPoint,
    Run,
    RunModel,
)
from apps.ml.experiments.purge import deletion
from apps.ml.registry import citations
from apps.ml.registry.models import Model, ModelVersion
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import record_names
from apps.platform.holds.models import Hold
from apps.platform.holds.services import place_hold
from apps.platform.jobs.models import Job
from apps.platform.lineage.models import Edge

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def approve(project):
    """approve(run) -> an approval whose facts name it."""

    def make(run):
        approval = Approval.objects.create(
            project=project,
            subject_type="promotion",
            subject_id="1",
            title="t",
            facts=f'{{"run":{{"id":"{run.pk}"}}}}',
            facts_digest="",
            needed=1,
            eligible=1,
            deadline_at=timezone.now(),
        )
        record_names(approval)

    return make


@pytest.fixture
def edge(project):
    """edge(source, target) of lineage, each (type, id)."""

    def draw(source, target):
        ends = {"source_type": source[0], "source_id": source[1], "target_type": target[0], "target_id": target[1]}
        Edge.objects.create(project=project, role="x", **ends)

    return draw


def test_a_version_that_names_it_keeps_it(deleted, purge, project):
    run = deleted("a")
    model = Model.objects.create(project=project, name="m", created_by="x")
    ModelVersion.objects.create(model=model, number=1, digest="d" * 64, document="{}", task="", target="", run=run)
    assert purge()[2] == {run.pk: "a model version cites it"}


def test_a_logged_model_that_is_alive_keeps_it(deleted, purge, project, experiment):
    run = deleted("a")
    logged = LoggedModel.objects.create(project=project, experiment=experiment, name="n", source_run=run)
    assert "it is not deleted" in purge()[2][run.pk]
    LoggedModel.objects.update(deleted_at=timezone.now())
    other = deleted("b", days=0)
    RunModel.objects.create(run=other, model=logged, direction="input")
    assert f"run {other.pk} names it" in purge()[2][run.pk]
    RunModel.objects.all().delete()
    assert purge()[0].runs == 1
    assert not LoggedModel.objects.exists()


def test_a_version_of_its_logged_model_keeps_it(deleted, purge, project, experiment):
    run = deleted("a")
    facts = {"source_run": run, "deleted_at": timezone.now()}
    logged = LoggedModel.objects.create(project=project, experiment=experiment, name="n", **facts)
    model = Model.objects.create(project=project, name="m", created_by="x")
    ModelVersion.objects.create(
        model=model, number=1, digest="d" * 64, document="{}", task="", target="", logged_model=logged
    )
    assert "a model version cites it" in purge()[2][run.pk]


def test_the_facts_of_an_approval_keep_it(deleted, purge, approve):
    run, free = deleted("a"), deleted("b")
    approve(run)
    _, goes, stays = purge()
    assert "name it" in stays[run.pk]
    assert [row[0] for row in goes] == [free.pk]


def test_lineage_to_a_live_version_keeps_it(deleted, purge, project, edge):
    run = deleted("a")
    model = Model.objects.create(project=project, name="m", created_by="x")
    version = ModelVersion.objects.create(model=model, number=1, digest="d" * 64, document="{}", task="", target="")

    edge(("run", run.pk), ("artifact", "f" * 64))
    edge(("artifact", "f" * 64), ("model_version", str(version.pk)))
    assert purge()[2] == {run.pk: "its lineage leads to m v1"}
    ModelVersion.objects.update(deleted_at=timezone.now())
    assert purge()[0].runs == 1


def test_a_page_of_runs_is_walked_at_once(deleted, project, approve, edge, monkeypatch, django_assert_num_queries):
    runs = [deleted(letter) for letter in "abcdef"]
    direct, behind, branching, named, _free, looped = runs
    model = Model.objects.create(project=project, name="m", created_by="x")
    version = ModelVersion.objects.create(model=model, number=1, digest="d" * 64, document="{}", task="", target="")
    approve(named)

    edge(("run", direct.pk), ("model_version", str(version.pk)))
    edge(("run", behind.pk), ("artifact", "1"))
    edge(("artifact", "1"), ("artifact", "2"))
    edge(("artifact", "2"), ("run", direct.pk))
    for number in range(3, 9):
        edge(("run", branching.pk), ("artifact", str(number)))
    edge(("run", looped.pk), ("artifact", "9"))
    edge(("artifact", "9"), ("run", looped.pk))
    monkeypatch.setattr(citations, "MAX_LINEAGE_ENDS", 5)
    expected = {
        direct.pk: "its lineage leads to m v1",
        behind.pk: "its lineage leads to m v1",
        branching.pk: "its lineage leads to more than 5 others",
        named.pk: f"the facts of approval {Approval.objects.get().pk} name it",
    }
    assert citations.find_cited_runs(runs) == expected
    assert [citations.find_cited_runs([run]).get(run.pk) for run in runs] == [expected.get(run.pk) for run in runs]
    monkeypatch.setattr(citations, "MAX_LINEAGE_ENDS", 100)
    del expected[branching.pk]
    with django_assert_num_queries(7):  # the facts; an edge's step for each kind, and the versions that it led to
        assert citations.find_cited_runs(runs) == expected


@pytest.mark.parametrize("kind", ["run", "experiment", "project"])
def test_a_hold_keeps_it(deleted, purge, project, experiment, auditor, actor_for, kind):
    run, who = deleted("a"), actor_for(auditor)
    of = {"run": run.pk, "experiment": str(experiment.pk), "project": ""}
    place_hold(actor=who, project=project, object_type=kind, object_id=of[kind], reason="case 12")
    assert "case 12" in purge()[2][run.pk]
    assert Run.objects.exists()


@pytest.mark.parametrize(("state", "of_job"), [("running", "running"), ("failed", "queued"), ("running", "failed")])
def test_a_job_that_records_it_keeps_it(deleted, purge, job, state, of_job):
    run = deleted("a", job=job)
    Run.objects.filter(pk=run.pk).update(state=state)
    Job.objects.filter(pk=job.pk).update(state=of_job)
    assert purge()[2] == {run.pk: f"job {job.pk} still records it"}
    Run.objects.filter(pk=run.pk).update(state="failed")
    Job.objects.filter(pk=job.pk).update(state="failed")
    assert purge()[0].runs == 1


def test_what_is_tried_again_between_the_look_and_the_lock_stays(deleted, purge, job, monkeypatch):
    Job.objects.filter(pk=job.pk).update(state="failed")
    run, look = deleted("a", job=job), deletion.iter_decisions

    def then_queued(project, cutoff):
        found = list(look(project, cutoff))
        Job.objects.filter(pk=job.pk).update(state="queued")
        return iter(found)

    monkeypatch.setattr(deletion, "iter_decisions", then_queued)
    assert purge()[2] == {run.pk: f"job {job.pk} still records it"}
    assert Run.objects.get().purging_at is None


def test_what_it_measured_of_the_live_model_of_another_run_keeps_it(deleted, purge, project, experiment):
    run, other = deleted("a"), deleted("b", days=0)
    logged = LoggedModel.objects.create(project=project, experiment=experiment, name="n", source_run=other)
    facts = {"key": "acc", "value": 1, "step": 0, "at": timezone.now()}
    LoggedModelMetric.objects.create(model=logged, run=run, **facts)
    assert purge()[2] == {run.pk: f"it measured the logged model {logged.pk}"}
    LoggedModel.objects.update(deleted_at=timezone.now())
    assert purge()[0].runs == 1


@pytest.mark.parametrize("kind", ["run", "experiment", "project", "loggedmodel"])
def test_a_hold_placed_while_it_goes_keeps_what_is_left(
    deleted, measured, purge, project, experiment, auditor, actor_for, monkeypatch, kind
):
    run, who = deleted("a"), actor_for(auditor)
    measured(run, 8)
    gone = {"source_run": run, "deleted_at": timezone.now()}
    logged = LoggedModel.objects.create(project=project, experiment=experiment, name="n", **gone)
    of = {"run": run.pk, "experiment": str(experiment.pk), "project": "", "loggedmodel": logged.pk}
    whole = deletion.delete_metric_rows

    def then_held(table, metric, order):
        whole(table, metric, order)
        if table is MetricPoint:
            place_hold(actor=who, project=project, object_type=kind, object_id=of[kind], reason="case 12")

    monkeypatch.setattr(deletion, "delete_metric_rows", then_held)
    assert "case 12" in (why := purge()[2][run.pk])
    assert "its points are gone" in why
    assert (Run.objects.get(), LoggedModel.objects.get()) == (run, logged)
    monkeypatch.setattr(deletion, "delete_metric_rows", whole)
    assert "case 12" in purge()[2][run.pk]
    Hold.objects.all().delete()
    assert purge()[0].runs == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer: nothing comes in between")
def test_a_hold_waits_for_a_run_that_goes_and_finds_none(deleted, purge, project, auditor, actor_for, monkeypatch):
    run, who, found = deleted("a"), actor_for(auditor), []
    record = deletion.record_purge

    def place():
        try:
            place_hold(actor=who, project=project, object_type="run", object_id=run.pk, reason="case 12")
        except NotFound as refused:
            found.append(refused)
        finally:
            connection.close()

    thread = threading.Thread(target=place)

    def then_held(*asked):
        thread.start()
        time.sleep(0.3)  # by then the hold waits for the lock; one that is late finds no run all the same
        record(*asked)

    monkeypatch.setattr(deletion, "record_purge", then_held)
    assert purge()[0].runs == 1
    thread.join()
    assert len(found) == 1
    assert not Hold.objects.exists()
