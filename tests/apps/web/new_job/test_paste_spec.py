"""A whole spec pasted as JSON: it fills the form, and what is wrong with it is said beside the fields."""

from __future__ import annotations

import html
import json
import re

import pytest

from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db
ODD = (None, True, -1, 1e308, "x", [], [[]], [None], ["x", 1], {}, {"a": {"b": 1}}, [{"a": 1}])


@pytest.fixture
def paste(engineer, web):
    """paste(kind, text, field=...) -> the page of the form after the button was pressed."""
    client = web(engineer)

    def send(kind, text, headers=None, **fields):
        data = {"op": "json", "json": text, **{k.replace("__", "/"): v for k, v in fields.items()}}
        answer = client.post(f"/p/demo/jobs/new/{kind}", data, headers=headers)
        assert answer.status_code == 200
        return html.unescape(answer.content.decode())

    return send


def shown(page: str) -> str:
    return re.search(r'<textarea id="f-json"[^>]*>(.*?)</textarea>', page, re.DOTALL)[1]


def test_it_fills_the_fields_and_leaves_the_rest(paste):
    page = paste("train", '{"task": "forecast", "target": "load", "hidden": [8, 4]}', name="kept", __epochs="7")
    assert '<option value="forecast" selected>' in page
    assert re.search(r'name="/target"[^>]* value="load"', page)
    assert re.search(r'name="/epochs"[^>]* value="50"', page)  # left out: its default, whatever stood in the field
    assert re.search(r'name="name"[^>]* value="kept"', page)
    assert json.loads(shown(page)) == {"task": "forecast", "target": "load", "hidden": [8, 4]}
    assert not Job.objects.exists()


def test_errors_stand_beside_the_fields_as_they_do_when_it_is_queued(paste):
    page = paste("train", '{"task": "forecast", "target": "load", "epochs": 0, "schedule": {"max_lr": "fast"}}')
    assert 'id="f-epochs-e" aria-live="polite"><' in page
    assert 'id="f-schedule-max_lr-e" aria-live="polite"><' in page
    assert re.search(r'name="/schedule/max_lr"[^>]* value="fast"', page)


def test_a_field_that_there_is_not_is_named(paste):
    assert "/colour" in paste("noop", '{"colour": 1}')


@pytest.mark.parametrize(
    ("text", "why"), [("{", "This is not JSON"), ("", "This is not JSON"), ("[1]", "one object"), ('{"a": NaN}', "NaN")]
)
def test_what_cannot_be_taken_stays_to_be_mended(paste, text, why):
    page = paste("noop", text, __seconds="3")
    assert why in page
    assert shown(page).strip() == text
    assert re.search(r'name="/seconds"[^>]* value="3"', page)


def test_too_deep_is_said(paste):
    assert "This is not JSON" in paste("noop", "[" * 50_000)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not KINDS[kind].internal])
def test_odd_values_are_answered_by_the_form(kind, paste):
    for value in ODD:
        text = json.dumps(dict.fromkeys(KINDS[kind].spec.model_fields, value))
        paste(kind, text, headers={"HX-Request": "true"})  # the form without the page around it


def test_it_is_in_step_with_the_fields(engineer, web):
    data = {"op": "ahead", "/seconds": "3", "/steps": "2"}
    answer = web(engineer).post("/p/demo/jobs/new/noop", data, headers={"HX-Request": "true"})
    assert json.loads(shown(html.unescape(answer.content.decode()))) == {"seconds": 3.0, "steps": 2}
