"""The list of runs narrowed by MLflow's filter language, by what is deleted, and with a column of tags."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.utils import timezone

from apps.ml.experiments.models import Run, RunTag

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def three(start, log):
    runs = [start(name=name, params={"lr": lr}) for name, lr in (("alpha", "0.1"), ("beta", "0.2"), ("gamma", "0.2"))]
    for run, value in zip(runs, (0.3, 0.2, 0.1), strict=True):
        log(run, loss=[9, value])
    return runs


def listed(text: str) -> list[str]:
    return [name for name in ("alpha", "beta", "gamma") if f">{name}</a>" in text]


def test_the_filter_narrows_the_list_in_every_order(read, three):
    expected = {
        "params.lr = '0.2'": ["beta", "gamma"],
        "metrics.loss < 0.25": ["beta", "gamma"],
        "metrics.loss < 0.25 AND run_name LIKE 'g%'": ["gamma"],
        "  status = 'RUNNING'  ": ["alpha", "beta", "gamma"],
        "tags.team IS NOT NULL": [],
        "   ": ["alpha", "beta", "gamma"],
    }
    for sort in ("", "-metrics.loss"):
        assert {text: listed(read(f"?{urlencode({'filter': text, 'sort': sort})}")) for text in expected} == expected


def test_a_mistake_is_said_beside_the_field_with_its_place(read, three):
    text = read("?filter=params.lr+%3D+0.2", status=422)
    assert "At character 13:" in text
    assert "<mark>0.2</mark>" in text
    assert 'aria-invalid="true"' in text
    assert not listed(text)


def test_what_is_typed_is_escaped(read, three):
    text = read("?filter=%3Cscript%3Ealert(1)%3C/script%3E", status=422)
    assert "<script>alert" not in text


def test_too_long_a_filter_is_refused_and_not_cut(read, three):
    read("?filter=" + "+AND+".join(["params.lr='0.2'"] * 200), status=422)


def test_views_and_chips_and_the_file_keep_it(read, three):
    text = read("?filter=params.lr+%3D+%270.2%27&status=running")
    assert "params.lr+%3D+%270.2%27" in text
    assert read("?filter=run_name+%3D+%27beta%27").count(">beta</a>") == 1


def test_by_rest(api, engineer, url, three):
    client = api(engineer)
    answer = client.get(url("?filter=params.lr+%3D+%270.1%27&sort=-metrics.loss"))
    assert [run["name"] for run in answer.json()["items"]] == ["alpha"]
    wrong = client.get(url("?filter=params.lr"))
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "filter")


def test_deleted_runs_are_left_out_until_asked_for(read, three):
    Run.objects.filter(pk=three[0].pk).update(deleted_at=timezone.now())
    assert listed(read("")) == ["beta", "gamma"]
    assert listed(read("?sort=metrics.loss")) == ["beta", "gamma"]
    assert listed(read("?deleted=only")) == ["alpha"]
    assert listed(read("?deleted=all&sort=metrics.loss")) == ["alpha", "beta", "gamma"]
    read("?deleted=perhaps", status=422)


def test_tags_have_a_column_for_who_picks_it(read, three):
    RunTag.objects.create(run=three[0], key="team", value="vision")
    RunTag.objects.create(run=three[0], key="mlflow.user", value="me")
    assert "vision" not in read("")
    text = read("?columns=tags")
    assert "vision" in text
    assert "mlflow.user" not in text
