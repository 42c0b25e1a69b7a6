"""The list of runs: columns of its metrics and params, orders, days, and its file."""

from __future__ import annotations

import csv
import io

import pytest

pytestmark = pytest.mark.services
LIST = "/p/demo/runs"


@pytest.fixture
def two(start, log):
    runs = [start(name=name, params={"lr": lr, "seed": "0"}) for name, lr in (("first", "0.1"), ("second", "=0.2"))]
    for run, value in zip(runs, (0.3, 0.2), strict=True):
        log(run, train_loss=[9, 3, value], other=[1, 2, 3])
    return runs


@pytest.fixture
def table(web, engineer):
    """table(query) -> the lines of the CSV file."""
    client = web(engineer)

    def ask(query: str) -> list[list[str]]:
        body = b"".join(client.get(f"{LIST}?format=csv&{query}").streaming_content)
        return list(csv.reader(io.StringIO(body.decode(), newline="")))

    return ask


@pytest.fixture
def read(web, engineer):
    client = web(engineer)
    return lambda query="": client.get(LIST + query).content.decode()


def test_a_param_that_is_the_same_everywhere_shows_when_asked_for(read, two):
    assert 'data-l="seed"' not in read()
    assert '<td data-l="seed">0</td>' in read("?columns=params.seed")


def test_a_metric_stays_asked_for_where_no_run_of_the_page_has_it(read, two):
    text = read("?columns=metrics.unknown")
    assert 'data-l="unknown"' in text
    assert 'value="metrics.unknown" checked' in text


def test_a_file_holds_the_cells_of_every_batch(table, two, monkeypatch):
    monkeypatch.setattr("apps.core.lists.listing.ROWS_PER_BATCH", 1)
    assert table("columns=params.lr,metrics.train_loss&sort=run") == [
        ["run", "params.lr", "metrics.train_loss"],
        ["first", "0.1", "0.3"],
        ["second", "'=0.2", "0.2"],
    ]


def test_a_file_opens_with_the_columns_of_the_page(table, two):
    head = table("")[0]
    assert {"run", "status", "params.lr", "metrics.train_loss", "started"} <= set(head)
    assert "id" not in head


def test_a_file_ordered_by_a_metric_leaves_out_what_has_none(table, two, start):
    start(name="without")
    assert [row[0] for row in table("sort=metrics.train_loss")[1:]] == ["second", "first"]


def test_every_order_turns_pages(read, two):
    for sort in ("run", "-run", "status", "-status", "kind", "by", "-by", "started", "-started"):
        first = read(f"?sort={sort}&limit=1")
        cursor = first.split('rel="next" href="')[1].split("cursor=")[1].split('"')[0].split("&amp;")[0]
        second = read(f"?sort={sort}&limit=1&cursor={cursor}")
        names = sorted(name for text in (first, second) for name in ("first", "second") if f">{name}<" in text)
        assert names == ["first", "second"], sort


def test_days_and_people_narrow_the_list(table, two):
    assert len(table("started_after=today&by=engineer")) == 3
    assert table("started_before=2020-01-01")[1:] == []
    assert table("by=nobody&sort=metrics.train_loss")[1:] == []
