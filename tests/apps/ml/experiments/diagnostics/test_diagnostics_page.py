"""The tab of a run's diagnostics: what is drawn of each task and kind of sample, and what is passed over."""

from __future__ import annotations

import base64
import json
import re

import pytest

from apps.ml.experiments.diagnostics import documents
from apps.platform.artifacts.stores import get_store
from deepseek.diagnostics.samples import serialize_samples

pytestmark = pytest.mark.django_db

DIAGNOSTICS, SAMPLES = "diagnostics/diagnostics.json", "samples/samples.json"
CURVE = {"x": [0, 0.5, 1], "y": [0, 0.9, 1]}
CLASSES = {
    "schema": "plane/diagnostics/v1",
    "task": "classification",
    "target": "kind",
    "rows": 20,
    "auc": 0.75,
    "curves": [
        {"label": "<rose>", "positives": 9, "auc": 0.75, "average_precision": 0.625}
        | {"roc": CURVE, "precision_recall": CURVE}
    ],
    "confusion": {"labels": ["daisy", "<rose>"], "counts": [[10, 1], [0, 9]], "left_out": 0},
    "calibration": [{"low": 0.9, "high": 1, "rows": 20, "confidence": 0.95, "accuracy": 0.9}],
    "importance": {"metric": "accuracy", "value": 0.95, "rows": 20, "repeats": 5}
    | {"features": [{"name": "=length", "drop": 0.2, "low": 0.1, "high": 0.3}], "left_out": 3},
}
VALUES = {
    "schema": "plane/diagnostics/v1",
    "task": "forecast",
    "target": "price",
    "rows": 3,
    "scatter": {"of": 3, "rows": [0, 1, 2], "actual": [1, 2, 1e300], "predicted": [1.5, 2, 3]},
    "residuals": {"mean": 0.2, "deviation": 0.1, "edges": [0, 1, 2], "counts": [2, 1]},
}
PNG = b"\x89PNG\r\n\x1a\n and so on"
IMAGE = {"target": "cat", "prediction": "dog", "share": 0.9, "target_share": 0.1, "name": "1.png"}


@pytest.fixture
def put(run, keep):
    """put(path, document or text) -> what was kept among the files of the run."""

    def write(path, document):
        return keep(run, path, (document if isinstance(document, str) else json.dumps(document)).encode())

    return write


def build_image(data=PNG, kind="png"):
    return IMAGE | {"image": f"data:image/{kind};base64,{base64.b64encode(data).decode()}"}


def test_a_classification(read, run, put):
    put(DIAGNOSTICS, CLASSES)
    put("plots/roc.svg", "<svg/>")
    text = read(f"/{run.pk}/diagnostics")
    for drawn in ("Confusion matrix", "ROC curve", "Precision and recall", "Calibration", "Feature importance"):
        assert f">{drawn}</h2>" in text
    assert "Residuals" not in text
    assert re.search(r'class="n hit s6" title="[^"]*">\s*9\s*<', text)
    assert "&lt;rose&gt;" in text
    assert "<rose>" not in text
    assert "plots/roc.svg" in text


def test_a_forecast(read, run, put):
    """A value that no axis has a place for is left out of the drawing."""
    put(DIAGNOSTICS, VALUES)
    text = read(f"/{run.pk}/diagnostics")
    for drawn in ("Forecast and actual values", "Predicted against actual", "Residuals", "Distribution of residuals"):
        assert f">{drawn}</h2>" in text
    assert text.count('class="dots"') == 2
    assert 'role="img" aria-label="actual ' in text


def test_a_matrix_of_many_classes_has_no_numbers(read, run, put):
    labels = [f"c{k}" for k in range(30)]
    counts = [[5 if at == to else int(at == 3 and to == 4) for to in range(30)] for at in range(30)]
    put(DIAGNOSTICS, CLASSES | {"confusion": {"labels": labels, "counts": counts}})
    text = read(f"/{run.pk}/diagnostics")
    assert 'class="matrix"' in text
    assert re.search(r'<th scope="row">c3</th>\s*<td>c4</td>', text)


def test_the_tab_is_there_where_something_is_drawn(read, run, put):
    tab = f'href="/p/{run.project.slug}/runs/{run.pk}/diagnostics"'
    assert tab not in read(f"/{run.pk}")
    assert "They are written when the job succeeds." in read(f"/{run.pk}/diagnostics")
    put(SAMPLES, serialize_samples("rows", []))
    assert tab in read(f"/{run.pk}")


def test_rows(read, run, put):
    classes = {"row": 7, "target": "a", "prediction": "b", "share": 0.9, "target_share": 0.0625}
    put(SAMPLES, serialize_samples("rows", [classes | {"features": {f"f{k}": k for k in range(15)}}]))
    text = read(f"/{run.pk}/diagnostics")
    assert re.search(r'<th scope="row" class="n">7</th>', text)
    assert re.search(r"6\.[23] %", text)
    assert ">f11</th>" in text
    assert ">f12</th>" not in text
    assert "3 more features" in text


def test_texts_have_marks_with_labels(read, run, put):
    spans = [{"start": 3, "end": 8, "label": "ORG"}, {"start": 5, "end": 9, "label": "LOC"}]
    wrong = [{"start": 0, "end": 2, "label": "PERSON"}, {"start": 3, "end": 8, "label": "ORG"}]
    put(SAMPLES, serialize_samples("text", [{"text": "At <pple> now", "target": spans, "prediction": wrong}]))
    text = read(f"/{run.pk}/diagnostics")
    assert '<mark class="span ">&lt;pple<small>ORG<span class="sr"></span></small></mark>&gt; now' in text
    assert re.search(r'<mark class="span failed">At<small>PERSON<span class="sr"> wrong</span><svg', text)
    assert re.search(r'<mark class="span succeeded">&lt;pple<small>ORG<span class="sr"> correct</span><svg', text)
    assert "LOC" not in text


def test_answers(read, run, put):
    put(SAMPLES, serialize_samples("answers", [{"prompt": "<2+2>", "target": "4", "before": "fish", "after": "five"}]))
    text = read(f"/{run.pk}/diagnostics")
    assert all(part in text for part in ("&lt;2+2&gt;", "fish", "five"))


def test_pictures_have_addresses_of_their_own(read, run, put, web, engineer, page):
    put(SAMPLES, serialize_samples("image", [build_image(), build_image()]))
    text = read(f"/{run.pk}/diagnostics")
    assert "data:image" not in text
    assert f'src="/p/{run.project.slug}/runs/{run.pk}/samples/1"' in text
    client = web(engineer)
    answer = client.get(page(f"/{run.pk}/samples/1"))
    assert (answer.content, answer["Content-Type"], answer["X-Content-Type-Options"]) == (PNG, "image/png", "nosniff")
    assert "sandbox" in answer["Content-Security-Policy"]
    assert client.get(page(f"/{run.pk}/samples/1"), headers={"If-None-Match": answer["ETag"]}).status_code == 304
    assert client.get(page(f"/{run.pk}/samples/2")).status_code == 404


@pytest.mark.parametrize("sample", [build_image(b"<svg/>"), build_image(kind="svg+xml"), IMAGE | {"image": "x.png"}])
def test_what_is_no_picture_is_not_served(run, put, web, engineer, page, sample):
    put(SAMPLES, serialize_samples("image", [sample]))
    assert web(engineer).get(page(f"/{run.pk}/samples/0")).status_code == 404


def test_another_project_sees_nothing(run, put, web, stranger, page):
    put(SAMPLES, serialize_samples("image", [build_image()]))
    put(DIAGNOSTICS, CLASSES)
    for tail in ("samples/0", "diagnostics", "diagnostics/confusion.csv"):
        assert web(stranger).get(page(f"/{run.pk}/{tail}")).status_code == 404


TABLES = {
    "confusion": "actual,daisy,<rose>\r\ndaisy,10,1\r\n<rose>,0,9\r\n",
    "importance": "feature,drop,low,high\r\n'=length,0.2,0.1,0.3\r\n",
    "calibration": "low,high,rows,confidence,accuracy\r\n0.9,1.0,20,0.95,0.9\r\n",
    "predictions": "row,actual,predicted\r\n",
}


def test_tables_as_csv(run, put, web, engineer, page):
    client = web(engineer)
    assert client.get(page(f"/{run.pk}/diagnostics/confusion.csv")).status_code == 404
    put(DIAGNOSTICS, CLASSES)
    found = {name: client.get(page(f"/{run.pk}/diagnostics/{name}.csv")).content.decode() for name in TABLES}
    assert found == TABLES
    lines = client.get(page(f"/{run.pk}/diagnostics/curves.csv")).content.decode().splitlines()
    assert lines[:2] == ["class,curve,x,y", "<rose>,roc,0.0,0.0"]
    assert client.get(page(f"/{run.pk}/diagnostics/nothing.csv")).status_code == 422


SPOILT = {
    "no JSON": "{",
    "a list": "[]",
    "deep": "[" * 100_000,
    "another schema": CLASSES | {"schema": "plane/figures/v1"},
    "no square": CLASSES | {"confusion": {"labels": ["a"], "counts": [[1, 2]]}},
    "uneven": VALUES | {"scatter": {"of": 1, "rows": [0], "actual": [], "predicted": [1]}},
    "no number": json.dumps(VALUES).replace("0.2", "NaN"),
    "too long": CLASSES | {"calibration": CLASSES["calibration"] * 50},
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_foreign_document_is_passed_over(read, run, put, case):
    put(DIAGNOSTICS, SPOILT[case])
    put(SAMPLES, "{}")
    assert "cannot be drawn" in read(f"/{run.pk}/diagnostics")


def test_odd_numbers_are_no_fault(read, run, put):
    scatter = {"of": 9, "rows": [0, 2**53], "actual": [1e308, 1e308], "predicted": [-1e308, 0]}
    residuals = {"mean": 1e308, "deviation": 0, "edges": [1e308, -1e308], "counts": [0]}
    importance = CLASSES["importance"] | {"features": [{"name": "", "drop": 1e308, "low": -1e308, "high": 0}]}
    odd = {"low": 0, "high": 1, "rows": -1, "confidence": 1e308, "accuracy": 0}
    more = {"importance": importance, "calibration": [odd], "confusion": {"labels": [], "counts": []}}
    put(DIAGNOSTICS, VALUES | {"scatter": scatter, "residuals": residuals} | more)
    read(f"/{run.pk}/diagnostics")


def test_damaged_or_large_files_are_passed_over(read, run, put, monkeypatch):
    file = put(DIAGNOSTICS, CLASSES)
    monkeypatch.setattr(documents, "DIAGNOSTICS_BYTES", 10)
    assert "cannot be drawn" in read(f"/{run.pk}/diagnostics")
    monkeypatch.undo()
    get_store().path_of(file.artifact_id).unlink()
    assert "cannot be drawn" in read(f"/{run.pk}/diagnostics")
