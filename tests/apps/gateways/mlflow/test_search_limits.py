"""The five searches bound what a client may ask: the length of a filter, the orders and their length, the page."""

from __future__ import annotations

import pytest

from apps.ml.experiments.filters.grammar import MAX_FILTER_CHARACTERS, MAX_FILTER_TOKENS
from apps.ml.experiments.filters.orders import MAX_ORDER_CHARACTERS, MOST_ORDERS

LONG_ORDER = "metrics." + "x" * MAX_ORDER_CHARACTERS
CASES = [
    (
        {"filter": "x" * (MAX_FILTER_CHARACTERS + 1)},
        f"Invalid filter: {MAX_FILTER_CHARACTERS + 1} characters, at most {MAX_FILTER_CHARACTERS} are allowed.",
    ),
    (
        {"filter": "a " * (MAX_FILTER_TOKENS + 1)},
        f"Invalid filter: more words and signs than the {MAX_FILTER_TOKENS} that are allowed.",
    ),
    (
        {"order_by": [LONG_ORDER]},
        f"Invalid order_by: {len(LONG_ORDER)} characters, at most {MAX_ORDER_CHARACTERS} are allowed.",
    ),
    (
        {"order_by": [f"metrics.m{number}" for number in range(MOST_ORDERS + 1)]},
        f"Invalid order_by: {MOST_ORDERS + 1} clauses, at most {MOST_ORDERS} are allowed.",
    ),
]
SEARCHES = {  # address -> method, what it needs beside, the most rows of a page
    "runs/search": ("POST", {"experiment_ids": ["0"]}, 50_000),
    "experiments/search": ("POST", {"max_results": 5}, 50_000),
    "logged-models/search": ("POST", {"experiment_ids": ["0"]}, 50_000),
    "registered-models/search": ("GET", {}, 1000),
    "model-versions/search": ("GET", {}, 200_000),
}


@pytest.mark.parametrize("address", SEARCHES)
def test_what_is_too_long_is_refused_with_the_limit(track, address):
    method, needed, most = SEARCHES[address]
    cases = [(needed | body, text) for body, text in CASES] + [(needed | {"max_results": most + 1}, "Invalid value ")]
    if address.startswith("logged"):
        for body, _text in cases:
            body.update({"order_by": [{"field_name": name} for name in body.get("order_by", ())]})
    assert track.wrong_refusals(method, address, cases) == {}


@pytest.mark.timeout(20, func_only=True)
def test_a_filter_that_stopped_a_process_is_refused_at_once(track):
    """20,000 digits and a letter took 9.8 s, 500,000 a worker's life."""
    body = {"experiment_ids": ["0"], "filter": f"metrics.a > {'1' * 400_000}x"}
    status, code, text = track.refused("POST", "runs/search", body)
    assert (status, code, text[:14]) == (400, "INVALID_PARAMETER_VALUE", "Invalid clause")
