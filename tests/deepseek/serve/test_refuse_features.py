"""POST /predict with what it does not take."""

import json

import pytest

from deepseek.serve import messages
from deepseek.serve.messages import RowsReader, read_rows

ROW = [1, 2, 3, 4, 5]


@pytest.mark.parametrize("body", [b"", b"features=1", b"{", b'{"features": [1}', b"\xff\xfe", b"[" * 100_000, b"\0"])
def test_what_is_not_json(client, refused, body):
    refused(client(max_rows=10_000).post("/predict", content=body), 400, "malformed_json")


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ([], "a list"),
        (1, "a number"),
        (None, "null"),
        ({}, "no features"),
        ({"feature": ROW}, "no features"),
        ({"features": None}, "null"),
        ({"features": "1,2"}, "a string"),
        ({"features": {"x": 1}}, "an object"),
        ({"features": True}, "true or false"),
    ],
)
def test_features_that_are_not_there(client, refused, document, part):
    first = refused(client().post("/predict", content=json.dumps(document)), 422, "features_missing")
    assert part in first["message"]
    assert (first["field"], "5 numbers" in first["limit"]) == ("/features", True)


@pytest.mark.parametrize("value", ["null", '"1"', "true", "NaN", "-Infinity", "1e400", "{}", "[1]"])
def test_a_value_that_is_no_number(client, refused, value):
    answer = client().post("/predict", content=f'{{"features": [[1, 2, 3, 4, 5], [1, 2, {value}, 4, 5]]}}')
    first = refused(answer, 422, "not_a_number")
    assert (first["field"], first["limit"]) == ("/features/1/2", "a finite number")
    single = client().post("/predict", content=f'{{"features": [1, 2, {value}, 4, 5]}}')
    assert refused(single, 422, "not_a_number")["field"] == "/features/2"


def test_every_fault_is_named_up_to_a_bound(client):
    errors = client().post("/predict", json={"features": [None] * 5}).json()["error"]["errors"]
    assert [error["field"] for error in errors] == [f"/features/{i}" for i in range(5)]
    many = client(max_rows=100).post("/predict", json={"features": [[None] * 5] * 100}).json()["error"]["errors"]
    assert len(many) == 20


@pytest.mark.parametrize("values", [300_000, 5])
def test_faults_beyond_the_bound_are_not_made(values, monkeypatch):
    """To name each of 300,000 took 2.6 s, of what a body may hold 80 s and 5 GB, and nobody else was answered."""
    body = json.dumps({"features": [[None] * values] * (300_000 // values)}).encode()
    made = []
    real = messages.build_pointer
    monkeypatch.setattr(messages, "build_pointer", lambda place: made.append(place) or real(place))
    _, _, faults = read_rows(body, width=5, max_rows=100_000)
    assert faults[0].code == ("not_a_number" if values == 5 else "wrong_width")
    assert len(faults) <= len(made) <= 40  # twice the bound


@pytest.mark.parametrize(
    ("features", "field", "found"),
    [
        ([], "/features", 0),
        (ROW[:4], "/features", 4),
        ([*ROW, 6], "/features", 6),
        ([[]], "/features/0", 0),
        ([ROW, ROW[:3]], "/features/1", 3),
    ],
)
def test_another_width(client, refused, features, field, found):
    first = refused(client().post("/predict", json={"features": features}), 422, "wrong_width")
    assert (first["field"], first["limit"]) == (field, "5")
    assert f"{found} values" in first["message"]


@pytest.mark.parametrize("other", [3, None, "x", {}])
def test_a_row_that_is_no_list(client, refused, other):
    first = refused(client().post("/predict", json={"features": [ROW, other]}), 422, "ragged_rows")
    assert first["field"] == "/features/1"


@pytest.mark.parametrize("value", ["1e39", "-1e300", "9" * 60, "-" + "9" * 400])
def test_a_number_beyond_float32(client, refused, value):
    answer = client().post("/predict", content=f'{{"features": [1, 2, 3, 4, {value}]}}')
    first = refused(answer, 422, "out_of_range")
    assert (first["field"], first["limit"]) == ("/features/4", "3.40282e+38")


def test_an_output_that_is_not_finite(client, refused):
    row = [3e38, -3e38, 3e38, -3e38, 3e38]
    answer = client(task="forecast").post("/predict", json={"features": [ROW, row]})
    assert refused(answer, 422, "outputs_not_finite")["field"] == "/features/1"


def test_too_many_rows(client, refused):
    first = refused(client(max_rows=8).post("/predict", json={"features": [ROW] * 9}), 413, "too_many_rows")
    assert first["limit"] == "8"
    assert "9 rows" in first["message"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit(client, refused, chunked):
    body = json.dumps({"features": [ROW] * 5000}).encode()
    answer = client(max_rows=8).post("/predict", content=iter([body[:1000], body[1000:]]) if chunked else body)
    first = refused(answer, 413, "too_large")
    assert first["limit"] in first["message"]
    assert answer.headers["connection"] == "close"


def test_the_quick_reader_takes_and_refuses_what_the_thorough_one_does():
    reader = RowsReader(2, 3, {})
    values = (
        "[1, 2]",
        "[[1, 2]]",
        "[ [1, 2], [3, 4]]",
        "[[1, 2], [3, 4], [5, 6], [7, 8]]",
        "[1]",
        "[[1, 2], [3]]",
        "[]",
    )
    values += (
        "[[]]",
        "[1, true]",
        '[1, "2"]',
        "[1, null]",
        "[1, NaN]",
        "[1, 1e39]",
        "[1, [2]]",
        "[[1, 2], 3]",
        "null",
        "1",
    )
    bodies = [f'{{"features": {value}}}' for value in values]
    bodies += [
        '{"features": [1, 2], "x": [[1]]}',
        '{"x": 1}',
        '{"features": [1, 2]',
        "[1, 2]",
        '{"features": [0.1, 1e-46]}',
    ]
    wrong = {}
    for body in bodies:
        quick, thorough = reader.read(body.encode()), read_rows(body.encode(), width=2, max_rows=3)
        said = [[(fault.code, fault.field) for fault in faults] for *_, faults in (quick, thorough)]
        if (quick[0].tolist(), quick[1], said[0]) != (thorough[0].tolist(), thorough[1], said[1]):
            wrong[body] = (quick, thorough)
    assert wrong == {}
