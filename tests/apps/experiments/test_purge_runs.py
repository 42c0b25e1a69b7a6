"""Deleted runs go for good: those that nothing keeps, exactly as the dry run says."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from apps.approvals.models import Approval
from apps.approvals.services import note_names
from apps.artifacts.garbage import collect_garbage
from apps.artifacts.models import Artifact, Holding
from apps.artifacts.store import store
from apps.audit.models import AuditRecord
from apps.errors import Refused
from apps.experiments import purging
from apps.experiments.models import (
    Experiment,
    LoggedModel,
    LoggedModelMetric,
    Metric,
    MetricBucket,
    MetricPoint,
    Run,
    RunArtifact,
    RunModel,
    RunParam,
)
from apps.experiments.purging import purge_runs
from apps.experiments.series import Point
from apps.experiments.services import folding
from apps.holds.services import place_hold
from apps.jobs.models import Job
from apps.lineage.models import Edge
from apps.registry import citations
from apps.registry.models import Model, ModelVersion

pytestmark = pytest.mark.django_db
MONTH = timedelta(days=30)


@pytest.fixture
def experiment(project):
    return Experiment.objects.create(project=project, number=1, name="old", created_by="x")


@pytest.fixture
def deleted(project, experiment):
    """deleted(id, days=40) -> a run that was deleted so long ago."""

    def make(letter, days=40, **columns):
        when = timezone.now() - timedelta(days=days) if days else None
        facts = {"project": project, "experiment": experiment, "name": f"run {letter}", "created_by": "x"}
        return Run.objects.create(id=letter * 32, state="finished", deleted_at=when, **(facts | columns))

    return make


@pytest.fixture
def measured():
    """measured(run, count) gives it so many points of a metric, and their buckets."""

    def write(run, count):
        now = timezone.now()
        facts = {"project": run.project, "experiment": run.experiment, "started_at": now, "at": now, "digest": "d"}
        metric = Metric.objects.create(run=run, key="loss", value=1, step=1, first_step=0, count=count, **facts)
        MetricPoint.objects.bulk_create(MetricPoint(metric=metric, step=n, value=n, at=now) for n in range(count))
        MetricBucket.objects.create(
            metric=metric, level=0, upto=8, count=8, odd=0, first_step=0, last_step=7, lowest_step=0, highest_step=7
        )

    return write


@pytest.fixture
def purge(operator, project):
    """purge(**options) -> (report, lines of what goes, {id: why} of what stays)"""

    def run(older_than=MONTH, **options):
        goes, stays = [], {}

        def say(one):
            if one.kept:
                stays[one.run.pk] = one.kept
            else:
                goes.append((one.run.pk, one.points, one.files, one.bytes))

        report = purge_runs(actor=operator, project=project, older_than=older_than, say=say, **options)
        return report, goes, stays

    return run


def test_the_dry_run_says_what_the_run_does(deleted, measured, purge, artifact):
    first, second, young = deleted("b", days=50), deleted("a", days=40), deleted("c", days=10)
    alive = deleted("d", days=0)
    measured(first, 100)
    RunArtifact.objects.create(run=first, path="w.bin", artifact=artifact, size=5, media_type="x/y")
    said, would_go, _ = purge(dry_run=True)
    assert Run.objects.count() == 4
    done, went, _ = purge()
    assert went == would_go == [(first.pk, 100, 1, 5), (second.pk, 0, 0, 0)]
    assert (done.runs, done.points, done.files, done.bytes, done.listed) == (2, 100, 1, 5, said.listed)
    assert set(Run.objects.values_list("pk", flat=True)) == {young.pk, alive.pk}
    assert not MetricPoint.objects.exists()
    assert not MetricBucket.objects.exists()
    assert purge()[1] == []


def test_points_go_a_batch_at_a_time(deleted, measured, purge, monkeypatch):
    measured(deleted("a"), 95)
    monkeypatch.setattr(purging, "POINTS", 10)
    purge()
    assert not Metric.objects.exists()


def test_more_points_than_a_query_takes_parameters(deleted, measured, purge):
    measured(deleted("a"), 12_000)
    assert purge()[0].points == 12_000
    assert not MetricPoint.objects.exists()


def test_a_purge_that_was_killed_goes_on(deleted, measured, purge, monkeypatch, project, auditor, actor_for):
    run = deleted("a")
    measured(run, 100)
    whole = purging.drain

    def killed(table, metric, order):
        raise KeyboardInterrupt

    monkeypatch.setattr(purging, "drain", killed)
    with pytest.raises(KeyboardInterrupt):
        purge()
    run.refresh_from_db()
    assert run.purging_at is not None
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.filter(pk=run.pk).update(deleted_at=None)
    monkeypatch.setattr(purging, "drain", whole)
    assert purge()[0].runs == 1
    assert not Run.objects.filter(pk=run.pk).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer: nothing comes in between")
def test_points_that_are_folded_while_a_run_goes_go_with_it(deleted, measured, purge, monkeypatch):
    """Of a metric that is there no constraint of the database would keep them: the lock of the run does."""
    run = deleted("a")
    measured(run, 8)
    now = timezone.now()
    sent = {(run.pk, "loss"): [Point("loss", 1.0, step, now) for step in range(100, 108)]}
    written, failures = threading.Event(), []

    def fold():
        try:
            with transaction.atomic():
                held = Run.objects.select_for_update(no_key=True).get(pk=run.pk)
                folding.fold({run.pk: held}, sent)
                written.set()
                time.sleep(0.3)  # by then the purge waits for the lock; one that is late finds the points all the same
        except Exception as failure:
            failures.append(failure)
        finally:
            connection.close()

    thread, hold = threading.Thread(target=fold), purging.hold

    def begun(run_id):
        thread.start()
        written.wait(10)
        return hold(run_id)

    monkeypatch.setattr(purging, "hold", begun)
    assert purge()[0].runs == 1
    thread.join()
    assert failures == []
    assert not Run.objects.filter(pk=run.pk).exists()
    assert not Metric.objects.exists()
    assert not MetricPoint.objects.exists()
    assert not MetricBucket.objects.exists()


def test_a_purge_that_another_one_overtook_records_nothing(deleted, purge, monkeypatch):
    run = deleted("a")
    monkeypatch.setattr(purging, "hold", lambda run_id: Run.objects.filter(pk=run_id).delete() and False)
    assert purge()[2] == {run.pk: "another purge removed it"}
    assert not AuditRecord.objects.filter(action="run.purge").exists()


def test_what_is_restored_between_the_look_and_the_lock_stays(deleted, purge, monkeypatch):
    run = deleted("a")
    look = purging.decided

    def then_restored(project, cutoff):
        found = list(look(project, cutoff))
        Run.objects.filter(pk=run.pk).update(deleted_at=None)
        return iter(found)

    monkeypatch.setattr(purging, "decided", then_restored)
    assert purge()[2] == {run.pk: "it was restored meanwhile"}
    assert Run.objects.get().purging_at is None


def test_each_run_and_each_purge_has_its_record(deleted, purge, project, artifact):
    run = deleted("a", metrics_digest="e" * 64)
    RunArtifact.objects.create(run=run, path="w.bin", artifact=artifact, size=5, media_type="x/y")
    report, _, _ = purge()
    one = AuditRecord.objects.get(action="run.purge")
    assert (one.object_id, one.project_id) == (run.pk, project.pk)
    assert "e" * 64 in one.body
    assert artifact.digest in one.body
    many = AuditRecord.objects.get(action="run.purge_many").body
    assert run.pk in many
    assert report.listed in many


def test_its_files_are_garbage_then(deleted, purge, artifact, operator, settings, tmp_path):
    settings.PLANE_HOME = tmp_path
    with store().open_staging() as staging:
        staging.write(b"makes the folder of the store")
        staging.publish()
    RunArtifact.objects.create(run=deleted("a"), path="w", artifact=artifact, size=5, media_type="x/y")
    Artifact.objects.update(created_at=timezone.now() - 2 * MONTH)
    Holding.objects.update(created_at=timezone.now() - 2 * MONTH)
    assert collect_garbage(actor=operator, older_than=MONTH, dry_run=True).gone == []
    purge()
    assert [one.digest for one in collect_garbage(actor=operator, older_than=MONTH, dry_run=True).gone] == ["a" * 64]


# -- what keeps a run -----------------------------------------------------------------------------------------------
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


def test_the_facts_of_an_approval_keep_it(deleted, purge, project):
    run, free = deleted("a"), deleted("b")
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
    note_names(approval)
    _, goes, stays = purge()
    assert "name it" in stays[run.pk]
    assert [row[0] for row in goes] == [free.pk]


def test_lineage_to_a_live_version_keeps_it(deleted, purge, project):
    run = deleted("a")
    model = Model.objects.create(project=project, name="m", created_by="x")
    version = ModelVersion.objects.create(model=model, number=1, digest="d" * 64, document="{}", task="", target="")

    def edge(source, target):
        ends = {"source_type": source[0], "source_id": source[1], "target_type": target[0], "target_id": target[1]}
        Edge.objects.create(project=project, role="x", **ends)

    edge(("run", run.pk), ("artifact", "f" * 64))
    edge(("artifact", "f" * 64), ("model_version", str(version.pk)))
    assert purge()[2] == {run.pk: "its lineage leads to m v1"}
    ModelVersion.objects.update(deleted_at=timezone.now())
    assert purge()[0].runs == 1


def test_a_page_of_runs_is_walked_at_once(deleted, project, monkeypatch, django_assert_num_queries):
    runs = [deleted(letter) for letter in "abcdef"]
    direct, behind, branching, named, _free, looped = runs
    model = Model.objects.create(project=project, name="m", created_by="x")
    version = ModelVersion.objects.create(model=model, number=1, digest="d" * 64, document="{}", task="", target="")
    approval = Approval.objects.create(
        project=project,
        subject_type="promotion",
        subject_id="1",
        title="t",
        facts=f'{{"run":{{"id":"{named.pk}"}}}}',
        facts_digest="",
        needed=1,
        eligible=1,
        deadline_at=timezone.now(),
    )
    note_names(approval)

    def edge(source, target):
        ends = {"source_type": source[0], "source_id": source[1], "target_type": target[0], "target_id": target[1]}
        Edge.objects.create(project=project, role="x", **ends)

    edge(("run", direct.pk), ("model_version", str(version.pk)))
    edge(("run", behind.pk), ("artifact", "1"))
    edge(("artifact", "1"), ("artifact", "2"))
    edge(("artifact", "2"), ("run", direct.pk))
    for number in range(3, 9):
        edge(("run", branching.pk), ("artifact", str(number)))
    edge(("run", looped.pk), ("artifact", "9"))
    edge(("artifact", "9"), ("run", looped.pk))
    monkeypatch.setattr(citations, "FOLLOWED", 5)
    expected = {
        direct.pk: "its lineage leads to m v1",
        behind.pk: "its lineage leads to m v1",
        branching.pk: "its lineage leads to more than 5 others",
        named.pk: f"the facts of approval {Approval.objects.get().pk} name it",
    }
    assert citations.cited_runs(runs) == expected
    assert [citations.cited_runs([run]).get(run.pk) for run in runs] == [expected.get(run.pk) for run in runs]
    monkeypatch.setattr(citations, "FOLLOWED", 100)
    del expected[branching.pk]
    with django_assert_num_queries(7):  # the facts; an edge's step for each kind, and the versions that it led to
        assert citations.cited_runs(runs) == expected


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
    run, look = deleted("a", job=job), purging.decided

    def then_queued(project, cutoff):
        found = list(look(project, cutoff))
        Job.objects.filter(pk=job.pk).update(state="queued")
        return iter(found)

    monkeypatch.setattr(purging, "decided", then_queued)
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


# -- experiments ----------------------------------------------------------------------------------------------------
def test_a_deleted_experiment_goes_once_it_is_empty(deleted, purge, experiment):
    deleted("a")
    young = deleted("b", days=5)
    Experiment.objects.update(deleted_at=timezone.now() - timedelta(days=40))
    assert purge(dry_run=True)[0].experiments == []
    young.delete()
    assert purge(dry_run=True)[0].experiments == ["old"]
    assert purge()[0].experiments == ["old"]
    assert not Experiment.objects.exists()


@pytest.mark.parametrize("meanwhile", ["restored", "held", "filled"])
def test_an_experiment_that_is_needed_between_the_look_and_the_lock_stays(
    deleted, purge, project, experiment, monkeypatch, meanwhile, auditor, actor_for
):
    Experiment.objects.update(deleted_at=timezone.now() - timedelta(days=40))
    logged = LoggedModel.objects.create(project=project, experiment=experiment, name="n")
    look = purging.emptied

    def then(*asked):
        found = look(*asked)
        if meanwhile == "restored":
            Experiment.objects.update(deleted_at=None)
        elif meanwhile == "filled":
            deleted("a", days=1)
        else:
            who = actor_for(auditor)
            place_hold(actor=who, project=project, object_type="loggedmodel", object_id=logged.pk, reason="case 12")
        return found

    monkeypatch.setattr(purging, "emptied", then)
    assert purge()[0].experiments == []
    assert LoggedModel.objects.get().experiment == experiment


# -- who, and how ---------------------------------------------------------------------------------------------------
def test_only_the_operator_may(deleted, project, actor_for, engineer):
    deleted("a")
    with pytest.raises(Refused):
        purge_runs(actor=actor_for(engineer), project=project, older_than=MONTH)
    assert Run.objects.exists()


def test_runs_of_other_projects_stay(deleted, purge, other_project):
    theirs = Experiment.objects.create(project=other_project, number=1, name="x", created_by="x")
    deleted("a", project=other_project, experiment=theirs)
    assert purge()[1] == []


def test_the_command(deleted, capsys, project):
    run = deleted("a")
    RunParam.objects.create(run=run, key="lr", value="1")
    call_command("purge_runs", "--older-than", "30d", "--project", project.slug, "--dry-run")
    out, errors = capsys.readouterr()
    assert out == f"goes {run.pk} 0 0 0 run a\n"
    assert "1 runs and 0 experiments" in errors
    assert "would go" in errors
    call_command("purge_runs", "--older-than", "30d")
    assert not Run.objects.exists()


def test_without_an_age_and_a_retention_nothing_goes(deleted, capsys, settings):
    deleted("a")
    with pytest.raises(SystemExit) as end:
        call_command("purge_runs")
    assert end.value.code == 2
    assert "RUN_RETENTION_DAYS is 0" in capsys.readouterr().err
    settings.ENV = settings.ENV.model_copy(update={"run_retention_days": 30})
    call_command("purge_runs")
    assert not Run.objects.exists()


def test_an_address_lists_what_would_go(deleted, measured, api, viewer, url, project, auditor, actor_for):
    first, held = deleted("b", days=50), deleted("a", days=40)
    deleted("c", days=3)
    measured(first, 8)
    place_hold(actor=actor_for(auditor), project=project, object_type="run", object_id=held.pk, reason="case 12")
    client = api(viewer)
    answer = client.get(url("/purgeable?limit=1"))
    assert [(row["id"], row["goes"], row["points"]) for row in answer.json()["items"]] == [(first.pk, True, 8)]
    answer = client.get(url("/purgeable?older_than=30d"))
    rows = answer.json()["items"]
    assert [row["goes"] for row in rows] == [True, False]
    assert "case 12" in rows[1]["kept"]
    assert len(client.get(url("/purgeable?older_than=1d")).json()["items"]) == 3
    assert client.get(url("/purgeable?older_than=soon")).status_code == 422


def test_a_stranger_sees_nothing(api, stranger, url):
    assert api(stranger).get(url("/purgeable")).status_code == 404
