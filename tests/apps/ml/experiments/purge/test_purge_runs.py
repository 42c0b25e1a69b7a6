"""Deleted runs go for good: those that nothing keeps, exactly as the dry run says."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from apps.core.errors import Refused
from apps.ml.experiments.metrics.series import Point
from apps.ml.experiments.models import (
    Experiment,
    Metric,
    MetricBucket,
    MetricPoint,
    Run,
    RunArtifact,
    RunParam,
)
from apps.ml.experiments.purge import deletion
from apps.ml.experiments.purge.deletion import purge_runs
from apps.ml.experiments.services import metric_ingestion
from apps.platform.artifacts.garbage import collect_garbage
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from apps.platform.holds.services import place_hold

pytestmark = [pytest.mark.django_db, pytest.mark.services]
MONTH = timedelta(days=30)


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
    monkeypatch.setattr(deletion, "POINTS", 10)
    purge()
    assert not Metric.objects.exists()


def test_more_points_than_a_query_takes_parameters(deleted, measured, purge):
    measured(deleted("a"), 12_000)
    assert purge()[0].points == 12_000
    assert not MetricPoint.objects.exists()


def test_a_purge_that_was_killed_goes_on(deleted, measured, purge, monkeypatch, project, auditor, actor_for):
    run = deleted("a")
    measured(run, 100)
    whole = deletion.delete_metric_rows

    def killed(table, metric, order):
        raise KeyboardInterrupt

    monkeypatch.setattr(deletion, "delete_metric_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        purge()
    run.refresh_from_db()
    assert run.purging_at is not None
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.filter(pk=run.pk).update(deleted_at=None)
    monkeypatch.setattr(deletion, "delete_metric_rows", whole)
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
                metric_ingestion.fold_metrics({run.pk: held}, sent)
                written.set()
                time.sleep(0.3)  # by then the purge waits for the lock; one that is late finds the points all the same
        except Exception as failure:
            failures.append(failure)
        finally:
            connection.close()

    thread, hold = threading.Thread(target=fold), deletion.lock_run_row

    def begun(run_id):
        thread.start()
        written.wait(60)
        return hold(run_id)

    monkeypatch.setattr(deletion, "lock_run_row", begun)
    assert purge()[0].runs == 1
    thread.join()
    assert failures == []
    assert not Run.objects.filter(pk=run.pk).exists()
    assert not Metric.objects.exists()
    assert not MetricPoint.objects.exists()
    assert not MetricBucket.objects.exists()


def test_a_purge_that_another_one_overtook_records_nothing(deleted, purge, monkeypatch):
    run = deleted("a")
    monkeypatch.setattr(deletion, "lock_run_row", lambda run_id: Run.objects.filter(pk=run_id).delete() and False)
    assert purge()[2] == {run.pk: "another purge removed it"}
    assert not AuditRecord.objects.filter(action="run.purge").exists()


def test_what_is_restored_between_the_look_and_the_lock_stays(deleted, purge, monkeypatch):
    run = deleted("a")
    look = deletion.iter_decisions

    def then_restored(project, cutoff):
        found = list(look(project, cutoff))
        Run.objects.filter(pk=run.pk).update(deleted_at=None)
        return iter(found)

    monkeypatch.setattr(deletion, "iter_decisions", then_restored)
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
    with get_store().open_staging() as staging:
        staging.write(b"makes the folder of the store")
        staging.publish()
    RunArtifact.objects.create(run=deleted("a"), path="w", artifact=artifact, size=5, media_type="x/y")
    Artifact.objects.update(created_at=timezone.now() - 2 * MONTH)
    Holding.objects.update(created_at=timezone.now() - 2 * MONTH)
    assert collect_garbage(actor=operator, older_than=MONTH, dry_run=True).gone == []
    purge()
    assert [one.digest for one in collect_garbage(actor=operator, older_than=MONTH, dry_run=True).gone] == ["a" * 64]


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
    assert "1 runs, 0 logged models and 0 experiments" in errors
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
