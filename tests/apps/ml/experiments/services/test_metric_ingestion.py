"""Folding what clients sent: once each, in slices, whoever dies and however many do it at once."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Refused
from apps.ml.experiments import services
from apps.ml.experiments.models import Experiment, Metric, MetricBatch, MetricPoint, Run
from apps.ml.experiments.queries import RunFilters, list_by_metric, list_runs
from apps.ml.experiments.services import SentPoint, metric_ingestion
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.services

DISPATCHER = build_plane_actor(PlaneRole.DISPATCHER)


def make_run(project) -> Run:
    experiment, _made = Experiment.objects.get_or_create(
        project=project, number=7, defaults={"name": "x", "created_by": "x"}
    )
    return Run.objects.create(project=project, experiment=experiment, name="r", created_by="x")


@pytest.fixture
def run(project) -> Run:
    return make_run(project)


@pytest.fixture
def send(actor_for, engineer, project):
    """send(run, *points as (key, value, at, step))"""

    def log(run, *points):
        services.log_points(
            actor=actor_for(engineer),
            project_id=project.pk,
            run_id=run.pk,
            points=[SentPoint(*point) for point in points],
        )

    return log


def steps(run, key="loss"):
    return sorted(MetricPoint.objects.filter(metric__run=run, metric__key=key).values_list("step", flat=True))


def test_every_point_once(run, send):
    for step in range(30):
        send(run, ("loss", 1.0 / (step + 1), step, step))
    for _ in range(2):
        services.ingest_batches(run_ids=[run.pk])
    metric = Metric.objects.get()
    assert (metric.count, metric.step, metric.value, metric.lowest_step) == (30, 29, 1 / 30, 29)
    assert metric.buckets.count() == 3
    assert steps(run) == list(range(30))
    assert not MetricBatch.objects.exists()


def test_in_slices_as_in_one(run, send, monkeypatch):
    for step in range(25):
        send(run, ("loss", float(step % 7), step, step), ("acc", float(step), step, step))
    monkeypatch.setattr(metric_ingestion, "SLICE", 4)
    services.ingest_batches(run_ids=[run.pk])
    sliced = Metric.objects.get(key="loss")
    kept = (sliced.count, sliced.digest, sliced.open_buckets, sliced.value)
    other = make_run(run.project)
    monkeypatch.setattr(metric_ingestion, "SLICE", 500)
    for step in range(25):
        send(other, ("loss", float(step % 7), step, step))
    services.ingest_batches(experiment_ids=[other.experiment_id])
    whole = Metric.objects.get(run=other)
    assert (whole.count, whole.digest, whole.open_buckets, whole.value) == kept


def test_a_slice_has_a_bound_on_its_points(run, send, monkeypatch):
    monkeypatch.setattr(metric_ingestion, "SLICE_POINTS", 10)
    for step in range(4):
        send(run, *(("loss", 1.0, step, step * 6 + index) for index in range(6)))
    assert metric_ingestion.fold_slice([run.pk], wait=True) == (1, True)
    services.ingest_batches(run_ids=[run.pk])
    assert steps(run) == list(range(24))


def test_a_reader_gives_up_on_a_flood_and_the_dispatcher_goes_on(run, send, monkeypatch):
    monkeypatch.setattr(metric_ingestion, "SLICE", 1)
    for step in range(3):
        send(run, ("loss", 1.0, step, step))
    monkeypatch.setattr(metric_ingestion, "SECONDS", 0.0)
    services.ingest_batches(run_ids=[run.pk])
    assert MetricBatch.objects.count() == 3
    assert services.ingest_all_batches(actor=DISPATCHER) == 3
    assert steps(run) == [0, 1, 2]


def test_what_comes_while_a_slice_is_folded_is_the_next_rounds(run, send, monkeypatch):
    fold, slices = metric_ingestion.fold_slice, []

    def slow(*args, **how):
        slices.append(fold(*args, **how))
        send(run, ("loss", 1.0, len(slices), len(slices)))
        return slices[-1]

    send(run, ("loss", 1.0, 0, 0))
    monkeypatch.setattr(metric_ingestion, "fold_slice", slow)
    assert services.ingest_all_batches(actor=DISPATCHER) == 1
    services.ingest_batches(run_ids=[run.pk])
    assert slices == [(1, False)] * 2
    assert MetricBatch.objects.count() == 1


def test_a_reader_goes_on_behind_what_a_rival_folded(run, send, monkeypatch):
    """It chose the first run, and waited for its lock while somebody else folded it: the second still waits."""
    other = make_run(run.project)
    send(run, ("loss", 1.0, 0, 0))
    send(other, ("loss", 1.0, 0, 0))
    fold, rivals = metric_ingestion.fold_slice, [run.pk]

    def late(run_ids, *, wait):
        if rivals:
            fold([rivals.pop()], wait=True)
        return fold(run_ids, wait=wait)

    monkeypatch.setattr(metric_ingestion, "SLICE", 1)
    monkeypatch.setattr(metric_ingestion, "fold_slice", late)
    services.ingest_batches(experiment_ids=[run.experiment_id])
    assert (steps(run), steps(other)) == ([0], [0])


def test_a_run_that_others_hold_does_not_end_the_round(run, send, monkeypatch):
    others = [make_run(run.project) for _ in range(2)]
    for each in (run, *others):
        send(each, ("loss", 1.0, 0, 0))
    fold, held = metric_ingestion.fold_slice, [run.pk]

    def skipping(run_ids, *, wait):
        return fold(run_ids - {held.pop()} if held else run_ids, wait=wait)

    monkeypatch.setattr(metric_ingestion, "SLICE", 2)
    monkeypatch.setattr(metric_ingestion, "fold_slice", skipping)
    assert services.ingest_all_batches(actor=DISPATCHER) == 3


def test_one_query_where_nothing_waits(run, django_assert_num_queries):
    with django_assert_num_queries(1):
        services.ingest_batches(run_ids=[run.pk])
    with django_assert_num_queries(1):
        services.ingest_batches(experiment_ids=[run.experiment_id])


@pytest.mark.parametrize(("runs", "keys"), [(1, 1), (1, 40), (5, 3)])
def test_as_many_queries_however_much_waits(project, send, runs, keys, django_assert_max_num_queries):
    made = [make_run(project) for _ in range(runs)]
    for each in made:
        send(each, *((f"m{key}", 1.0, 1, step) for key in range(keys) for step in range(9)))
    with django_assert_max_num_queries(11):
        metric_ingestion.fold_slice([each.pk for each in made], wait=True)
    assert Metric.objects.count() == runs * keys


def test_killed_before_the_end_nothing_is_lost_and_nothing_doubled(run, send, monkeypatch):
    send(run, ("loss", 1.0, 1, 1), ("loss", 2.0, 2, 2))
    with monkeypatch.context() as broken:
        broken.setattr(metric_ingestion, "add_buckets", lambda filled: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            services.ingest_batches(run_ids=[run.pk])
    assert (MetricBatch.objects.count(), MetricPoint.objects.count()) == (1, 0)
    services.ingest_batches(run_ids=[run.pk])
    assert steps(run) == [1, 2]


def test_repeats_behind_the_newest_are_found(run, send):
    send(run, *(("loss", float(step), step, step) for step in range(10)))
    services.ingest_batches(run_ids=[run.pk])
    send(run, ("loss", 3.0, 3, 3), ("loss", 3.5, 3, 3), ("loss", 9.0, 9, 9), ("loss", 3.0, 4, 3))
    services.ingest_batches(run_ids=[run.pk])
    assert steps(run) == [0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9]
    assert Metric.objects.get().count == 12


def test_a_loop_that_goes_on_looks_for_no_repeats(run, send, django_assert_num_queries, monkeypatch):
    send(run, ("loss", 1.0, 1, 1))
    services.ingest_batches(run_ids=[run.pk])
    asked = []
    monkeypatch.setattr(metric_ingestion, "load_points_at", lambda doubtful: asked.append(doubtful) or {})
    send(run, ("loss", 1.0, 2, 2))
    services.ingest_batches(run_ids=[run.pk])
    assert asked == [{}]


def test_what_was_sent_to_a_run_that_has_gone_is_thrown_away(run, send, project):
    send(run, ("loss", 1.0, 1, 1))
    other = make_run(project)
    send(other, ("loss", 1.0, 1, 1))
    Run.objects.filter(pk=run.pk)._raw_delete("default")
    services.ingest_all_batches(actor=DISPATCHER)
    services.ingest_all_batches(actor=DISPATCHER)
    assert not MetricBatch.objects.exists()
    assert steps(other) == [1]


def test_what_comes_after_the_end_is_recorded_as_whose_it_is(run, send, project, actor_for, engineer):
    Run.objects.update(state="finished")
    for step in range(3):
        send(run, ("loss", 1.0, step, step))
    other = replace(actor_for(engineer), label="somebody else", address="192.0.2.7")
    services.log_points(actor=other, project_id=project.pk, run_id=run.pk, points=[SentPoint("acc", 1.0, 1, 1)])
    of_before = {"run": run, "experiment": run.experiment, "points": '[["old",1.0,1,1]]'}
    MetricBatch.objects.create(**of_before)
    services.ingest_all_batches(actor=DISPATCHER)
    records = [json.loads(row.body) for row in AuditRecord.objects.filter(action="run.amend").order_by("pk")]
    assert [(told["actor"]["label"], told["address"]) for told in records] == [
        ("engineer", "192.0.2.1"),
        ("somebody else", "192.0.2.7"),
        (DISPATCHER.label, ""),
    ]
    assert {told["actor"]["user"] for told in records[:2]} == {engineer.pk}
    assert {told["after"]["metrics_count"] for told in records} == {5}


def test_only_the_dispatcher_folds_everybodys(actor_for, engineer):
    with pytest.raises(Refused):
        services.ingest_all_batches(actor=actor_for(engineer))


@pytest.mark.django_db(transaction=True)
def test_two_at_once_fold_once(run, send):
    for step in range(60):
        send(run, ("loss", float(step), step, step))
    barrier, failures = threading.Barrier(4), []

    def fold(all_of_them):
        try:
            barrier.wait()
            if all_of_them:
                services.ingest_all_batches(actor=DISPATCHER)
            else:
                services.ingest_batches(run_ids=[run.pk])
                assert len(steps(run)) == 60
        except Exception as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=fold, args=(number == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert steps(run) == list(range(60))
    assert Metric.objects.get().count == 60


@pytest.mark.parametrize("experiment", ["", "7"])
def test_lists_by_what_was_measured_take_it_in(run, send, actor_for, engineer, project, experiment):
    send(run, ("loss", 0.25, 1, 1))
    actor, asked = actor_for(engineer), RunFilters(experiment=experiment)
    assert [metric.value for metric in list_by_metric(actor, project, asked, "loss")] == [0.25]
    send(run, ("acc", 0.5, 1, 1))
    assert list(list_runs(actor, project, RunFilters(experiment=experiment, filter="metrics.acc > 0.4"))) == [run]


def test_readers_do_not_wait_for_what_was_sent_to_runs_that_have_gone(run, send, monkeypatch):
    send(run, ("loss", 1.0, 0, 0))
    gone = make_run(run.project)
    send(gone, ("loss", 1.0, 0, 0))
    Run.objects.filter(pk=gone.pk)._raw_delete("default")
    rounds = []
    fold_slice = metric_ingestion.fold_slice
    monkeypatch.setattr(
        metric_ingestion, "fold_slice", lambda *args, **how: rounds.append(args) or fold_slice(*args, **how)
    )
    services.ingest_batches(experiment_ids=[run.experiment_id])
    services.ingest_batches(run_ids=[gone.pk])
    assert len(rounds) == 1
    assert steps(run) == [0]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer: nothing comes in between")
def test_a_run_is_held_before_its_metrics_are_sealed(run, actor_for, engineer):
    with CaptureQueriesContext(connection) as asked:
        services.update_run(actor=actor_for(engineer), run=run, state="finished")
    statements = [query["sql"] for query in asked]
    held = next(index for index, sql in enumerate(statements) if "FOR NO KEY UPDATE" in sql)
    assert held < next(index for index, sql in enumerate(statements) if "experiments_metric" in sql)
