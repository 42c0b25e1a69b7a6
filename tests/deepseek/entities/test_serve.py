"""/predict of a model of entities."""

import pytest
from starlette.testclient import TestClient

from tests.deepseek.serve.conftest import open_service


@pytest.fixture
def client(trained):
    return TestClient(open_service(trained.out, max_rows=3))


def test_a_text_gets_its_spans_and_texts_get_lists(client):
    spans = client.post("/predict", json={"features": "Ada left Acme."}).json()["prediction"]
    assert spans == [
        {"start": 0, "end": 3, "label": "PERSON", "text": "Ada"},
        {"start": 9, "end": 13, "label": "ORG", "text": "Acme"},
    ]
    answer = client.post("/predict", json={"features": ["", "Ada left Acme."]}).json()
    assert answer == {"prediction": [[], spans]}
    assert client.post("/predict", json={"features": []}).json() == {"prediction": []}


def test_what_is_no_text_is_refused(client):
    cases = {
        "malformed_json": (400, b"{"),
        "features_missing": (422, b'{"features": 1}'),
        "not_a_text": (422, b'{"features": ["a", 1]}'),
        "too_many_rows": (413, b'{"features": ["a", "a", "a", "a"]}'),
    }
    answers = {code: client.post("/predict", content=body) for code, (_, body) in cases.items()}
    found = {code: (answer.status_code, answer.json()["error"]["code"]) for code, answer in answers.items()}
    assert found == {code: (status, code) for code, (status, _) in cases.items()}


def test_openapi_names_the_labels(client):
    document = client.get("/openapi.json").text
    assert '"PERSON"' in document
