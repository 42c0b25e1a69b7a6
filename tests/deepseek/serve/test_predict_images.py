"""An image model over HTTP: pixels as lists, image files as base64, and what is refused."""

import base64
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from deepseek.images.decoding import decode_image
from deepseek.images.network import ImageNetwork
from deepseek.models.manifest import ImageArchitecture
from deepseek.models.network import save_network
from deepseek.models.predictor import load_predictor
from tests.deepseek.serve.conftest import in_event_loop, open_service


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder of a model for images of 32 x 40 pixels."""
    folder = tmp_path_factory.mktemp("model")
    architecture = ImageArchitecture(backbone="mobilenet_v3_small", height=32, width=40, outputs=3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ImageNetwork(architecture)
    words = {"task": "classification", "target": "label", "features": ["image"], "classes": ["a", "b", "c"]}
    save_network(network, folder, architecture=architecture, inputs={}, spec={}, **words)
    return folder


@pytest.fixture(scope="module")
def client(model):
    return TestClient(open_service(model, max_rows=3))


@pytest.fixture(scope="module")
def file():
    """The bytes of a picture of another size."""
    out = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (50, 60, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def test_pixels_and_files_give_the_same(client, model, file):
    pixels = decode_image(file, 32, 40)
    text = base64.b64encode(file).decode()
    expected = load_predictor(model).predict(pixels[None].astype(np.float32))[0].tolist()
    for features in (pixels.tolist(), text, f"data:image/png;base64,{text}"):
        answer = client.post("/predict", json={"features": features})
        assert answer.json()["prediction"] == pytest.approx(expected, abs=1e-6)
    several = client.post("/predict", json={"features": [text, pixels.tolist()]}).json()["prediction"]
    assert several == [pytest.approx(expected, abs=1e-6)] * 2
    schema = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]
    assert schema["content"]["application/json"]["schema"]["properties"]["features"]["oneOf"][1]["type"] == "string"


def test_files_are_decoded_beside_the_event_loop(model, file, refused, monkeypatch):
    client = TestClient(open_service(model, max_rows=3))
    loaded, places = client.app.repository.default.current, []
    loaded.quick = True
    read = loaded.handler.read
    monkeypatch.setattr(loaded.handler, "read", lambda body: places.append(in_event_loop()) or read(body))
    text = base64.b64encode(file).decode()
    assert client.post("/predict", json={"features": text}).status_code == 200
    large = BytesIO()
    Image.new("1", (6000, 5000)).save(large, "PNG")
    assert len(large.getvalue()) < 12_000
    answer = client.post("/predict", json={"features": base64.b64encode(large.getvalue()).decode()})
    assert "6000 x 5000 pixels, more than 25,000,000" in refused(answer, 422, "image_broken")["message"]
    assert places == [False, False]


def test_what_is_no_image_is_refused(client, file, refused):
    image = decode_image(file, 32, 40).tolist()
    text = base64.b64encode(file).decode()
    cut = base64.b64encode(file[:100]).decode()
    cases = [
        ({}, 422, "features_missing", "/features"),
        ([], 422, "features_missing", "/features"),
        ({"features": []}, 422, "features_missing", "/features"),
        ({"features": image[:2]}, 422, "shape_mismatch", "/features"),
        ({"features": [image, [*image[:2], image[2][:5]]]}, 422, "shape_mismatch", "/features/1"),
        ({"features": [[[*image[0][:31], [*image[0][31][:39], None]], *image[1:]]]}, 422, "not_a_number", None),
        ({"features": [[[300.0] * 40] * 32] * 3}, 422, "out_of_range", "/features"),
        ({"features": "no base64"}, 422, "image_broken", "/features"),
        ({"features": [text, cut]}, 422, "image_broken", "/features/1"),
        ({"features": [text] * 4}, 413, "too_many_rows", "/features"),
    ]
    for body, status, code, field in cases:
        first = refused(client.post("/predict", json=body), status, code)
        assert field in (None, first["field"])
