"""Pages: the question, the verdict, and what the pages of runs say of reruns."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.db.models.functions import Now

from apps.ml.experiments.models import Run
from apps.ml.reruns.models import Rerun
from apps.platform.artifacts.models import Holding

pytestmark = pytest.mark.django_db
WEIGHTS = {"model/model.safetensors": b"weights"}


@pytest.fixture
def read(web, engineer, project):
    """read(tail, status=200) -> the text of a page of the project."""
    client = web(engineer)

    def ask(tail, status=200):
        answer = client.get(f"/p/{project.slug}{tail}")
        assert answer.status_code == status, answer.status_code
        return answer.content.decode()

    return ask


@pytest.fixture
def send(web, engineer, project):
    client = web(engineer)
    return lambda tail, **typed: client.post(f"/p/{project.slug}{tail}", typed)


def test_the_run_offers_it_to_who_may(read, web, viewer, original, project):
    where = f"/p/{project.slug}/runs/{original.pk}"
    assert f'href="{where}/rerun"' in read(f"/runs/{original.pk}")
    assert f'href="{where}/rerun"' not in web(viewer).get(where).content.decode()


def test_it_is_not_offered_where_it_cannot_be(read, original):
    for changed in ({"state": "running"}, {"deleted_at": Now()}, {"job": None, "kind": ""}):
        with transaction.atomic():
            Run.objects.filter(pk=original.pk).update(**changed)
            assert f"/runs/{original.pk}/rerun" not in read(f"/runs/{original.pk}"), changed
            transaction.set_rollback(True)
    assert f"/runs/{original.pk}/rerun" in read(f"/runs/{original.pk}")


def test_the_question_shows_the_record(read, original):
    text = read(f"/runs/{original.pk}/rerun")
    assert "Nothing is known to differ." in text
    assert original.inputs["table"] in text
    assert "<dt>seed</dt>" in text
    assert "as REST call" in text


def test_what_is_known_to_differ_stands_first(read, original):
    Run.objects.filter(pk=original.pk).update(code_digest="d" * 64)
    text = read(f"/runs/{original.pk}/rerun")
    assert "Known to differ" in text
    assert "d" * 64 in text


def test_what_cannot_be_is_said_instead_of_the_button(read, original):
    Holding.objects.all().delete()
    text = read(f"/runs/{original.pk}/rerun")
    assert "It cannot be run again as it is recorded." in text
    assert "The bytes of the input table are gone" in text
    assert 'data-dialog="again"' not in text


def test_a_click_makes_one_and_goes_there(send, original, project):
    answer = send(f"/runs/{original.pk}/rerun", relative="0.01", absolute="")
    rerun = Rerun.objects.get()
    assert (answer.status_code, answer.url) == (302, f"/p/{project.slug}/reruns/{rerun.pk}")
    assert (rerun.relative, rerun.absolute) == (0.01, 1e-9)


@pytest.mark.parametrize(("typed", "said"), [("x", "is no number"), ("7", "is not in 0 to 1")])
def test_a_wrong_tolerance_is_said_beside_its_field(send, original, typed, said):
    answer = send(f"/runs/{original.pk}/rerun", relative=typed, absolute="0")
    text = answer.content.decode()
    assert (answer.status_code, Rerun.objects.count()) == (422, 0)
    assert said in text
    assert f'name="relative" type="text" inputmode="decimal" autocomplete="off" value="{typed}"' in text
    assert "data-open" in text


def test_what_went_missing_meanwhile_is_said(send, original):
    Holding.objects.all().delete()
    answer = send(f"/runs/{original.pk}/rerun", relative="", absolute="")
    assert answer.status_code == 422
    assert "The bytes of the input table are gone" in answer.content.decode()


def test_a_viewer_may_not_ask(web, viewer, original, project):
    assert web(viewer).post(f"/p/{project.slug}/runs/{original.pk}/rerun", {}).status_code == 403


def test_the_verdict_with_its_reasons(read, original, ask, end, judged):
    rerun = ask(original)
    run = end(rerun.job, loss=[3, 2.5, 1], outputs=WEIGHTS, environment={"processor": "New 2"})
    judged(rerun)
    text = read(f"/reruns/{rerun.pk}")
    assert "Of what went in, this differs: the processor." in text
    assert "Outside the tolerance: 1 metric." in text
    assert "New 2" in text
    assert "data-poll" not in text
    for one in (original, run):
        assert f"/reruns/{rerun.pk}" in read(f"/runs/{one.pk}")


def test_why_they_differ_where_no_number_tells_it(read, original, ask, end, judged):
    rerun = ask(original)
    end(rerun.job, loss=[3, 2, 1, 1], acc=[0.1234567890123456], outputs=WEIGHTS)
    judged(rerun)
    text = read(f"/reruns/{rerun.pk}")
    assert text.count("only in the new run") == 1
    assert '<span title="0.1234567890123456">0.1235</span>' in text
    assert "none at the 3 steps of both" in text
    document = Rerun.objects.get(pk=rerun.pk).document
    document["metrics"]["items"][1]["compared"] = 0
    document["figures"] |= {
        "differing": 7,
        "items": [{"path": "task", "was": "", "now": "forecast", "absolute": None, "relative": None, "within": False}],
    }
    Rerun.objects.filter(pk=rerun.pk).update(document=document)
    text = read(f"/reruns/{rerun.pk}")
    assert "no step in common" in text
    assert "The 1 furthest apart of 7." in text
    assert '<span class="quiet">empty</span>' in text


def test_an_open_one_asks_again_by_itself(read, original, ask):
    text = read(f"/reruns/{ask(original).pk}")
    assert "The verdict comes when the job has ended." in text
    assert "data-poll" in text


def test_one_without_a_verdict_says_why(read, original, ask, end, judged):
    rerun = ask(original)
    end(rerun.job, state="failed")
    Holding.objects.all().delete()
    judged(rerun)
    text = read(f"/reruns/{rerun.pk}")
    assert "There is no verdict." in text
    assert "It broke." in text
    assert "The bytes of the input table are gone" in text


def test_two_compared_runs_get_a_verdict(read, original, end, add_job):
    other = end(add_job(seed=4), loss=[3, 2, 5])
    assert "verdict=1#vd" in read(f"/runs/compare?ids={original.pk},{other.pk}")
    text = read(f"/runs/compare?ids={original.pk},{other.pk}&verdict=1")
    assert text.count("seed in the spec") == 1  # in the sentence: the params have a table of their own
    assert f"/runs/{other.pk}/verdict?against={original.pk}" in text


def test_three_compared_runs_and_open_ones_get_none(read, original, end, add_job):
    others = [end(add_job(seed=seed)) for seed in (1, 2)]
    assert "/verdict?" not in read(f"/runs/compare?ids={original.pk},{others[0].pk},{others[1].pk}&verdict=1")
    Run.objects.filter(pk=others[0].pk).update(state="running")
    assert "/verdict?" not in read(f"/runs/compare?ids={original.pk},{others[0].pk}&verdict=1")
    assert "verdict=1#vd" not in read(f"/runs/compare?ids={original.pk},{others[0].pk}")


def test_a_compared_rerun_gets_its_verdict_at_once(read, original, ask, end):
    again = end(ask(original).job, loss=[3, 2, 1])
    assert "/verdict?" in read(f"/runs/compare?ids={original.pk},{again.pk}")


def test_another_project_has_no_such_page(web, stranger, original, ask, project):
    client = web(stranger)
    for tail in (f"reruns/{ask(original).pk}", f"runs/{original.pk}/rerun"):
        assert client.get(f"/p/{project.slug}/{tail}").status_code == 404


def test_the_earlier_reruns_are_a_link_away(read, ask, original):
    reruns = [ask(original) for _ in range(6)]
    first, where = f"/reruns/{reruns[0].pk}", f"/runs/{original.pk}"
    text = read(where)
    assert first not in text
    assert 'href="?reruns=all#rr"' in text
    text = read(f"{where}?reruns=all")
    assert first in text
    assert "Earlier ones too" not in text
