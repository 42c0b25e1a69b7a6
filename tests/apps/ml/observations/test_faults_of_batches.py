"""Kills in the middle of a batch and classes that nobody has seen: nothing is lost, and nothing counts twice."""

import pytest
from django.db import connection

from apps.ml.observations.models import ClassCount, HourFigures, Label, Landing, ObservationSource, Prediction
from apps.ml.observations.services import batches
from apps.platform.audit.models import AuditRecord
from tests.apps.ml.observations.conftest import read_totals
from tests.forks import kill_at

pytestmark = [pytest.mark.django_db, pytest.mark.services]
STEPS = ("add_increments", "land_rows", "record_batch")


@pytest.mark.django_db(transaction=True)
def test_a_kill_at_any_step_of_a_batch_leaves_nothing_and_the_next_one_counts_once(source, predict, label, hour):
    for send, model in ((predict, Prediction), (label, Label)):
        for step in STEPS:
            assert kill_at(batches, step, lambda send=send: send("a", "b")), step
            assert not model.objects.exists(), step
        assert (send("a", "b").stored, send("a", "b").duplicates) == (2, 2)
    figures, classes = read_totals(source)[1, "fp32", False, hour]
    assert (figures["predictions"], figures["labelled"], figures["correct"]) == (2, 2, 2)
    assert classes == {"up": (2, 2, 2)}
    assert sum(Landing.objects.values_list("rows", flat=True)) == 4
    assert AuditRecord.objects.filter(action__startswith="observation.record").count() == 2


def test_a_class_that_no_answer_had_counts_as_wrong_and_is_remembered(source, predict, label):
    predict("a", "b")
    label("a", label="never seen")
    label("b", label="up")
    assert HourFigures.objects.get().correct == 1
    counts = {row.name: (row.predicted, row.labelled, row.correct) for row in ClassCount.objects.all()}
    assert counts == {"up": (2, 1, 1), "never seen": (0, 1, 0)}
    assert ObservationSource.objects.get().classes == ["never seen", "up"]


def test_labels_of_unknown_predictions_wait_and_change_no_figure(source, predict, label, hour):
    assert label("nobody", "late").waiting == 2
    assert not HourFigures.objects.exists()
    predict("late")
    assert read_totals(source)[1, "fp32", False, hour][0]["labelled"] == 1


def test_ids_of_a_batch_are_looked_up_one_by_one():
    """However small the planner takes the table to be: it read all rows of a source, and compared each with each id."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no such choice")
    query = batches.build_key_query(Prediction._meta.db_table, "key, fingerprint", is_postgres=True)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {query}", [[str(number) for number in range(4000)], 1])
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Index Cond: ((source_id = 1) AND ((key)::text = " in plan, plan
