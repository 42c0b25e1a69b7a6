"""Many runs at once: tag, delete, restore; compare and points lead elsewhere; each may be refused by itself."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import Run
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def two(start, finish):
    runs = [start(name=name) for name in ("one", "two")]
    finish(runs[0])
    Job.objects.filter(pk=runs[0].job_id).update(state="succeeded")
    return runs


@pytest.fixture
def send(web, engineer, page):
    client = web(engineer)
    return lambda runs, **form: client.post(page("/bulk"), {"ids": [run.pk for run in runs], **form})


def test_a_tag_for_all(send, two):
    text = send(two, do="tag", key_of_tag="team", value_of_tag="vision").content.decode()
    assert "<b>2 done</b>" in text
    assert [dict(run.tags.values_list("key", "value")) for run in two] == [{"team": "vision"}] * 2
    assert f"for id in {two[0].pk} {two[1].pk}" in text


def test_each_is_deleted_or_refused_by_itself(send, two):
    text = send(two, do="delete", reason="a typo").content.decode()
    assert "<b>1 done</b>" in text
    assert "still records this run" in text
    assert Run.objects.filter(deleted_at__isnull=False).get() == two[0]
    assert "<b>1 done</b>" in send(two[:1], do="restore").content.decode()


def test_compare_and_points_lead_to_their_addresses(send, two, page, web, viewer):
    ids = ",".join(run.pk for run in two)
    assert send(two, do="compare").headers["Location"] == page(f"/compare?ids={ids}")
    assert send(two, do="points", key="val/loss").headers["Location"].endswith(f"/points.csv?ids={ids}&key=val%2Floss")
    seen = web(viewer).post(page("/bulk"), {"ids": [run.pk for run in two], "do": "compare"})
    assert seen.status_code == 302


@pytest.mark.parametrize(
    "form",
    [{"do": "burn"}, {"do": "delete"}, {"do": "tag", "key_of_tag": ""}, {"do": "tag", "key_of_tag": "mlflow.runName"}],
)
def test_nonsense_changes_nothing(send, two, form):
    assert send(two, **form).status_code == 422
    assert not Run.objects.filter(deleted_at__isnull=False).exists()


def test_none_selected_is_said(send):
    assert send([], do="restore").status_code == 422


def test_a_run_that_is_not_there_is_refused_alone(send, two, web, engineer, page):
    answer = web(engineer).post(page("/bulk"), {"ids": [two[0].pk, "x/../y"], "do": "tag", "key_of_tag": "k"})
    assert "<b>1 done</b>" in answer.content.decode()


def test_a_viewer_may_not(web, viewer, page, two):
    answer = web(viewer).post(page("/bulk"), {"ids": [two[0].pk], "do": "restore"})
    assert answer.status_code == 403
    assert "Delete the runs" not in web(viewer).get(page("")).content.decode()
