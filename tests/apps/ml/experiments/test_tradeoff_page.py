"""The tab of a trade-off: which form to ship and what it costs, why the others are not offered, and the next step."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest

from apps.ml.experiments.diagnostics import documents
from apps.ml.experiments.tradeoff.presenters import BADGES, LEFT_OUT, ORDER
from deepseek.quantize.document import LeftOutReason, Verdict
from tests.apps.ml.experiments.tradeoff_document import build_form, build_layer, build_tradeoff

pytestmark = pytest.mark.django_db
PATH = documents.TRADEOFF_PATH
GOOD = json.loads(build_tradeoff().model_dump_json(by_alias=True))


@pytest.fixture
def show(read, run, keep):
    """show(document, query) -> the tab of a run with that document."""

    def write(document, query=""):
        text = document if isinstance(document, str) else document.model_dump_json(by_alias=True)
        keep(run, PATH, text.encode())
        return read(f"/{run.pk}/trade-off{query}")

    return write


def test_every_verdict_and_reason_has_its_words():
    assert set(BADGES) == set(ORDER) == set(get_args(Verdict))
    assert set(LEFT_OUT) == set(get_args(LeftOutReason))


def strip_tags(text):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_the_recommended_form_stands_first_and_the_others_say_why_not(show):
    text = show(build_tradeoff())
    words = strip_tags(text)
    first = "Ship int8-static : 5 times as fast as fp32 at batch 1, 4 times smaller; it costs 0.1 points of accuracy"
    assert f"{first} (−0.1 to 0.3)." in words
    names = re.findall(r'<th scope="row" class="txt">\s*([\w-]+)<br>', text)
    assert names == ["int8-static", "int8", "int8-torchao", "int8-onnx", "fp32"]
    for reason in (
        "Too few rows: it may lose up to 0.9 points, and 0.5 points is allowed.",
        "0.625 times as fast as fp32 at batch 1: nothing slower is offered.",
        "It loses 1.5 points, and 0.5 points is allowed: it is kept, and cannot be promoted.",
        "Of the forms that lose at most 0.5 points and are not slower than fp32 at batch 1 with 1 threads",
        "Stays fp32: layers.2",
        "1 smaller layer was not tried.",
        "The node lacks the package &lt;torchao&gt;.",
    ):
        assert reason in words, reason
    assert words.count("A row&#x27;s output depends on its batch") == 1


def test_the_chart_has_every_form_with_its_interval_and_what_is_allowed(show):
    text = show(build_tradeoff())
    spots = re.findall(r'aria-label="(int8[\w-]*|fp32): median time of a call, ms ([\d.]+), accuracy ([^"]+)"', text)
    assert [(name, x) for name, x, _ in spots] == [
        ("fp32", "1"),
        ("int8", "0.3"),
        ("int8-onnx", "0.25"),
        ("int8-static", "0.2"),
        ("int8-torchao", "1.6"),
    ]
    assert {name: y for name, _, y in spots}["int8-static"] == "0.969 (0.967 to 0.971)"
    assert ">allowed</text>" in text
    assert re.search(r'aria-label="layers\.2 · Linear · stays fp32: 1\.25', text)


def test_the_chart_runs_along_size_or_another_batch(show, read, run):
    assert 'aria-label="fp32: size, MB 4,' in show(build_tradeoff(), "?x=size")
    for query, time in (("32-4", "8"), ("7-7", "1"), ("&lt;", "1")):
        assert f'aria-label="fp32: median time of a call, ms {time},' in read(f"/{run.pk}/trade-off?x={query}")


def test_an_error_in_per_cent_and_no_form_worth_shipping(show):
    metric = {"name": "rmse", "value": 2.0, "low": 1.8, "high": 2.2, "better": "lower"}
    loss = {"metric": "rmse", "value": 0.0, "low": 0.0, "high": 0.0, "unit": "percent"}
    forms = [
        build_form(name, verdict, us, 0, 0, metrics=[metric], difference=[metric | {"value": 0, "low": 0, "high": 0}])
        | {"loss": loss}
        for name, verdict, us in (("fp32", "parent", 1000), ("fp32-onnx", "recommended", 1100))
    ]
    allowed = {"metric": "rmse", "limit": 0.5, "unit": "percent"}
    text = show(build_tradeoff(variants=forms, recommended="fp32-onnx", allowed=allowed, task="forecast"))
    words = strip_tags(text)
    assert "it costs 0 % of rmse" in words
    assert "No form is shown to be faster within the allowed loss" in words


def test_layers_that_cost_nothing_are_told_by_their_outputs(show):
    """And no interval of a share ends above 1."""
    lossless = build_layer("layers.0", 0)
    forms = [build_form("fp32", "parent", 1000, 0, 0), build_form("int8", "recommended", 200, -2.5, 0.1)]
    text = show(build_tradeoff(variants=forms, sensitivity=GOOD["sensitivity"] | {"layers": [lossless]}))
    assert 'aria-label="layers.0 · Linear: 1"' in text
    assert "difference of the outputs by this layer alone, %" in text
    assert "accuracy 0.995 (0.969 to 1)" in text


def test_the_tab_is_there_where_there_is_a_document(read, run, keep):
    tab = f'href="/p/{run.project.slug}/runs/{run.pk}/trade-off"'
    assert tab not in read(f"/{run.pk}")
    assert "It is written when the job succeeds." in read(f"/{run.pk}/trade-off")
    keep(run, PATH, build_tradeoff().model_dump_json(by_alias=True).encode())
    assert tab in read(f"/{run.pk}")
    assert "/diagnostics" not in read(f"/{run.pk}")


SPOILT = {
    "no JSON": "{",
    "another schema": json.dumps(GOOD | {"schema": "plane/figures/v1"}),
    "no number": json.dumps(GOOD).replace("0.2", "NaN"),
    "no times": json.dumps(GOOD | {"variants": [form | {"timings": []} for form in GOOD["variants"]]}),
    "nothing recommended": json.dumps(GOOD | {"variants": GOOD["variants"][:1]}),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_foreign_document_is_passed_over(show, case):
    assert "cannot be drawn" in show(SPOILT[case])


def test_another_project_sees_nothing(run, keep, web, stranger, page):
    keep(run, PATH, build_tradeoff().model_dump_json(by_alias=True).encode())
    assert web(stranger).get(page(f"/{run.pk}/trade-off")).status_code == 404
