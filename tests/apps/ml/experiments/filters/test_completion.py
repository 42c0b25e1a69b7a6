"""What the field of the filter offers next, and where it is put in."""

from __future__ import annotations

import pytest

from apps.core.errors import NotFound
from apps.ml.experiments.filters.completion import complete_filter
from apps.ml.experiments.models import RunTag

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def offered(actor_for, engineer, project, start, log):
    """offered(text, at=None) -> (start, end, the texts that are offered)."""
    run = start(name="one", params={"lr": "0.1", "optimizer": "adam", "net width": "3"})
    log(run, **{"val/loss": [1], "train_loss": [2]})
    RunTag.objects.create(run=run, key="team", value="it's")

    def ask(text, at=None):
        found = complete_filter(actor_for(engineer), project, text, len(text) if at is None else at)
        return found.start, found.end, [option.text for option in found.options]

    return ask


def test_nothing_typed_offers_kinds_and_attributes(offered):
    start, end, texts = offered("")
    assert (start, end) == (0, 0)
    assert {"metrics.", "params.", "tags.", "run_name "} <= set(texts)


def test_completions(offered):
    expected = [
        ("met", 0, ["metrics."]),
        ("params.", 0, ["params.lr ", "params.`net width` ", "params.optimizer "]),
        ("params.`net", 0, ["params.`net width` "]),
        ("metrics.loss", 0, ["metrics.train_loss ", "metrics.`val/loss` "]),
        ("attributes.run_", 0, ["attributes.run_name ", "attributes.run_id "]),
        ("datasets.", 0, ["datasets.context ", "datasets.digest ", "datasets.name "]),
        ("metrics.train_loss i", 19, []),
        ("params.lr l", 10, ["LIKE "]),
        ("status = 'R", 9, ["'RUNNING' "]),
        ("params.optimizer = ", 19, ["'adam' "]),
        ("tags.team = 'it", 12, ['"it\'s" ']),
        ("params.lr = '0.1' ", 18, ["AND "]),
        ("tags.team IS NOT NULL ", 22, ["AND "]),
        ("params.lr = '0.1' AND tags.t", 22, ["tags.team "]),
        ("params.lr = ' AND ' AND tags.t", 24, ["tags.team "]),
        ("metrics.train_loss < 0.", 21, []),
    ]
    wrong = {text: offered(text) for text, begin, texts in expected if offered(text) != (begin, len(text), texts)}
    assert wrong == {}


def test_what_stands_behind_the_cursor_is_left_alone(offered):
    assert offered("par = 1", at=3)[:2] == (0, 3)


def test_invalid_text_raises_nothing(offered):
    for text in ("\x00", "'", "`", "params.`", "AND AND", "((((", "x" * 5000, "\ud83d", "metrics.[a-"):
        assert isinstance(offered(text)[2], list)


def test_the_answer_costs_the_same(offered, django_assert_max_num_queries):
    with django_assert_max_num_queries(6):
        offered("lo")


def test_a_stranger_sees_no_keys(actor_for, stranger, project):
    with pytest.raises(NotFound):
        complete_filter(actor_for(stranger), project, "params.", 7)


def test_as_the_field_asks_for_it(web, engineer, page, offered):
    answer = web(engineer).get(page("/complete"), {"filter": "params.l", "at": "8"})
    assert answer.json() == {
        "start": 0,
        "end": 8,
        "options": [{"text": "params.lr ", "label": "lr", "told": "param"}],
    }
    assert web(engineer).get(page("/complete"), {"filter": "params.l", "at": "-x"}).status_code == 200
