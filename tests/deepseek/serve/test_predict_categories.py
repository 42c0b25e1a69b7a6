"""Words over HTTP: a model that takes categories is given them as they are, not as codes."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from deepseek.models.predictor import load_predictor
from tests.deepseek.serve.conftest import open_service
from tests.deepseek.train.conftest import train_to

ROWS = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("words")
    columns = {"x": np.arange(ROWS) * 1.0, "colour": ["red", "blue"] * 20, "zip": [7, 7, 9, 9] * 10}
    pq.write_table(pa.table({**columns, "y": np.arange(ROWS) * 2.0}), folder / "table")
    fields = {"task": "regression", "target": "y", "features": ["x", "colour"], "categories": ["zip"]}
    train_to(folder / "model", folder / "table", **fields, epochs=2)
    return folder / "model"


@pytest.fixture
def client(model):
    return TestClient(open_service(model, max_rows=8))


def test_words_numbers_and_nothing(client, model):
    given = [[1.0, "red", 7], [1.0, "blue", "9"], [1.0, None, 9.0], [1.0, "unseen", 11]]
    codes = np.array([[1, 1, 0], [1, 0, 1], [1, 2, 1], [1, 2, 2]], np.float32)
    answer = client.post("/predict", json={"features": given})
    np.testing.assert_allclose(answer.json()["prediction"], load_predictor(model).predict(codes), rtol=1e-6)
    assert client.post("/predict", json={"features": given[0]}).json()["prediction"] == answer.json()["prediction"][0]


@pytest.mark.parametrize("value", [1.5, ["red"], {}])
def test_what_is_no_category(client, refused, value):
    answer = client.post("/predict", json={"features": [[1.0, "red", 7], [1.0, value, 7]]})
    assert refused(answer, 422, "not_a_category")["field"] == "/features/1/1"


def test_numbers_have_to_be_numbers_still(client, refused):
    refused(client.post("/predict", json={"features": ["much", "red", 7]}), 422, "not_a_number")
    refused(client.post("/predict", json={"features": [1.0, "red"]}), 422, "wrong_width")


def test_the_interface_says_so(client):
    schema = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]
    row = schema["content"]["application/json"]["schema"]["properties"]["features"]["oneOf"][0]
    assert "string" in row["items"]["type"]
