"""Rows written together, and a row that is changed where it is as somebody saw it; alike on both databases."""

import math
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection
from django.db.models import F
from django.db.models.functions import Now

from apps.core.db import fast_sql
from apps.ml.experiments.models import Experiment, ExperimentTag, Metric, MetricBucket, Run
from apps.platform.lineage.models import Edge

pytestmark = pytest.mark.services


@pytest.fixture
def experiment(project):
    return Experiment.objects.create(project=project, number=7, name="seven", created_by="a")


@pytest.fixture
def run(experiment):
    began = datetime(2026, 1, 1, tzinfo=UTC)  # SQLite's Now() has milliseconds, and a row of this one may lie behind it
    return Run.objects.create(
        project=experiment.project, experiment=experiment, name="r", created_by="a", started_at=began
    )


def edge(project, role):
    ends = {"source_type": "job", "source_id": "1", "target_type": "run", "target_id": "2"}
    return Edge(project=project, role=role, **ends)


@pytest.mark.django_db(transaction=True)
def test_together_or_not_at_all(experiment):
    tags = [ExperimentTag(experiment=experiment, key="a", value=value) for value in "12"]
    with pytest.raises(IntegrityError):
        fast_sql.insert_rows([edge(experiment.project, "x"), *tags])
    assert (Edge.objects.count(), ExperimentTag.objects.count()) == (0, 0)
    fast_sql.insert_rows([edge(experiment.project, "x"), tags[0]])
    assert (Edge.objects.count(), ExperimentTag.objects.get().value) == (1, "1")


@pytest.mark.django_db(transaction=True)
def test_more_rows_than_one_statement_takes(experiment):
    count = 22_000 if connection.vendor == "postgresql" else 11_000  # of 3 values: 65,535 a statement, or 32,766
    tags = [ExperimentTag(experiment=experiment, key=str(number), value="v") for number in range(count)]
    fast_sql.insert_rows([*tags, edge(experiment.project, "x")])
    assert (ExperimentTag.objects.count(), Edge.objects.count()) == (count, 1)


def test_leaves_out_what_is_there(project):
    edge(project, "x").save()
    fast_sql.insert_rows([edge(project, "x"), edge(project, "y")], skip_existing=frozenset({Edge}))
    assert sorted(Edge.objects.values_list("role", flat=True)) == ["x", "y"]


def test_many_texts_are_written_as_they_are(experiment):
    texts = ["", "tab\there", "\\N", "back\\slash\nand line", "中文"]
    rows = ((experiment.pk, str(number), text) for number, text in enumerate(texts))
    fast_sql.insert_many(ExperimentTag, ("experiment_id", "key", "value"), rows)
    assert list(ExperimentTag.objects.order_by("key").values_list("value", flat=True)) == texts


def test_many_numbers_times_and_nulls_are_written_as_they_are(run):
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    facts = {"project": run.project, "experiment": run.experiment, "started_at": at, "at": at}
    metric = Metric.objects.create(run=run, key="a", value=1, step=1, first_step=1, **facts)
    columns = ("metric_id", "level", "upto", "count", "odd", "total", "first_step", "last_step", "lowest", "lowest_at")
    rows = [
        (metric.pk, 3, 2**53, 8, 0, 0.1, -(2**53), 1, 5e-324, at),
        (metric.pk, 0, 1, 8, 8, None, 0, 0, None, None),
        (metric.pk, 1, 1, 8, 0, 2, 0, 0, -math.inf, at),
    ]
    fast_sql.insert_many(MetricBucket, (*columns, "lowest_step", "highest_step"), [(*row, 0, 0) for row in rows])
    assert list(MetricBucket.objects.order_by("id").values_list(*columns)) == rows


@pytest.mark.django_db
def test_no_rows_are_no_statement(django_assert_num_queries):
    with django_assert_num_queries(0):
        fast_sql.insert_many(ExperimentTag, ("experiment_id", "key", "value"), ())


def test_changes_a_row_that_is_as_it_was_seen(run):
    Run.objects.filter(pk=run.pk).update(name="renamed", figures={"a": [1]})
    assert fast_sql.compare_and_set(run, {"state": "failed"}, state="running", job=None)
    assert (run.state, run.name, run.figures) == ("failed", "renamed", {"a": [1]})
    run.refresh_from_db()
    assert run.state == "failed"


@pytest.mark.parametrize("seen", [{"state": "failed"}, {"state": "running", "job": 5}])
def test_leaves_a_row_that_is_not(run, seen):
    assert not fast_sql.compare_and_set(run, {"state": "killed"}, **seen)
    assert (run.state, Run.objects.get().state) == ("running", "running")


@pytest.mark.parametrize("seen", [{"experiment__number": 7}, {"started_at__lte": Now()}, {"attempt": F("attempt")}])
def test_looks_up_what_a_filter_does(run, seen):
    assert fast_sql.compare_and_set(run, {"state": "killed"}, **seen)
    assert run.state == "killed"
    assert not fast_sql.compare_and_set(run, {"state": "failed"}, experiment__number=8)


def test_takes_expressions_of_the_database(run):
    assert fast_sql.compare_and_set(run, {"attempt": F("attempt") + 2}, state="running")
    assert run.attempt == 2


def test_reads_a_column_of_another_row(run):
    columns = ("name", "experiment__number", "experiment__artifact_location")
    assert fast_sql.select(Run, columns, id=run.pk) == [("r", 7, "")]
