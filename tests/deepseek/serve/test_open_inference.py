"""Open Inference Protocol v2 as its stock clients speak it, and what is refused."""

import gzip
import importlib
import json
import threading

import numpy as np
import pytest
import uvicorn
from starlette.testclient import TestClient

from deepseek.models.predictor import load_predictor
from deepseek.serve import open_inference
from deepseek.serve.command import open_listener
from tests.deepseek.models.making import make_model
from tests.deepseek.serve.conftest import in_event_loop, open_service

ROWS = np.array([[0.5, -1, 2.25, 3, 0.004], [1, 2, 3, 4, 5]], np.float32)
URL = "/v2/models/wti/infer"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v2") / "wti"
    make_model(folder, task="classification")
    return folder


@pytest.fixture(scope="module")
def app(folder):
    return open_service(folder, max_rows=100)


@pytest.fixture(scope="module")
def expected(folder):
    return load_predictor(folder).predict(ROWS)


@pytest.fixture
def client(app):
    return TestClient(app)


@pytest.fixture(scope="module")
def address(app):
    """The service on a port, in a thread of this process."""
    listener = open_listener("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield "{}:{}".format(*listener.getsockname())
    server.should_exit = True
    thread.join(10)


@pytest.mark.enable_socket
def test_tritonclient_in_all_combinations(address, app, expected):
    http = pytest.importorskip("tritonclient.http")
    with http.InferenceServerClient(address) as triton:
        assert triton.is_server_live()
        assert triton.is_server_ready()
        assert triton.is_model_ready("wti")
        assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        metadata = triton.get_model_metadata("wti")
        assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 5]}]
        assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]}]
        version = metadata["versions"][0]
        wrong = {}
        for binary_in in (True, False):
            for binary_out in (True, False, None):
                given = http.InferInput("features", ROWS.shape, "FP32")
                given.set_data_from_numpy(ROWS, binary_data=binary_in)
                outputs = None if binary_out is None else [http.InferRequestedOutput("probabilities", binary_out)]
                for compression in (None, "gzip", "deflate"):
                    answer = triton.infer(
                        "wti",
                        [given],
                        outputs=outputs,
                        request_id="7",
                        model_version=version,
                        request_compression_algorithm=compression,
                        response_compression_algorithm=compression,
                    )
                    values = answer.as_numpy("probabilities")
                    raw = "parameters" in answer.get_output("probabilities")
                    found = (raw, answer.get_response()["id"], values.tolist())
                    if found != (binary_out is not False, "7", expected.tolist()):
                        wrong[binary_in, binary_out, compression] = found
        assert wrong == {}
        with pytest.raises(http.InferenceServerException, match="There is no model other"):
            triton.infer("other", [given])
        with pytest.raises(http.InferenceServerException, match="no version 9"):
            triton.infer("wti", [given], model_version="9")
        with pytest.raises(http.InferenceServerException):
            triton.get_model_config("wti")


@pytest.mark.enable_socket
def test_the_open_inference_client(address, expected):
    types = pytest.importorskip("open_inference.openapi.types")
    client = importlib.import_module("open_inference.openapi.client").OpenInferenceClient(base_url=f"http://{address}")
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("wti")
    assert client.read_model_metadata("wti").platform == "pytorch_safetensors"
    tensor = types.RequestInput(
        name="features", shape=[2, 5], datatype="FP32", data=types.TensorData.parse_obj(ROWS.tolist())
    )
    answer = client.model_infer("wti", request=types.InferenceRequest(id="a", inputs=[tensor]))
    assert answer.id == "a"
    np.testing.assert_array_equal(np.reshape(answer.outputs[0].data.__root__, (2, 2)), expected)


def build_document(**changes):
    entry = {"name": "features", "shape": [2, 5], "datatype": "FP32", "data": ROWS.tolist(), **changes}
    return {"inputs": [{name: value for name, value in entry.items() if value is not None}]}


def test_forms_of_a_tensor(client, expected):
    forms = [
        build_document(),
        build_document(data=ROWS.reshape(-1).tolist()),
        build_document(datatype="FP64"),
        {**build_document(), "outputs": []},
        {**build_document(), "parameters": {"other": 1}, "id": "x"},
    ]
    for document in forms:
        answer = client.post(URL, content=json.dumps(document))
        assert answer.status_code == 200, answer.text
        output = answer.json()["outputs"][0]
        assert (output["shape"], output["datatype"]) == ([2, 2], "FP32")
        np.testing.assert_array_equal(np.reshape(output["data"], (2, 2)), expected)
        assert answer.json()["model_version"] == answer.headers["x-model-version"]
    binary = [("FP16", ROWS.astype("<f2")), ("FP64", ROWS.astype("<f8")), ("INT8", ROWS.astype("i1"))]
    binary.append(("BF16", (ROWS.view(np.uint32) >> 16).astype("<u2")))
    for datatype, values in binary:
        answer = post_binary(client, values.tobytes(), datatype=datatype)
        assert answer.status_code == 200, answer.text


def post_binary(client, data, *, length=None, size=None, **changes):
    parameters = {"binary_data_size": len(data) if size is None else size}
    head = json.dumps(build_document(data=None, parameters=parameters, **changes)).encode()
    headers = {"Inference-Header-Content-Length": str(len(head) if length is None else length)}
    return client.post(URL, content=head + data, headers=headers)


def test_what_is_refused_says_why_in_the_protocol_s_shape(client):
    nan = ROWS.copy()
    nan[1, 2] = np.nan
    cases = [
        (client.post(URL, content=b"{"), 400, "not JSON"),
        (client.post(URL, content=b"[]"), 400, "no inference request"),
        (client.post(URL, content=b'{"inputs": []}'), 400, "/inputs"),
        (client.post(URL, content=json.dumps(build_document(data=nan.tolist()))), 400, "not JSON"),
        (post_binary(client, nan.tobytes()), 400, "[1, 2]"),
        (client.post(URL, json=build_document(name="other")), 400, "features is missing"),
        (client.post(URL, json=build_document(shape=[2, 4])), 400, "do not fill its shape"),
        (client.post(URL, json=build_document(shape=[10], data=ROWS.reshape(-1).tolist())), 400, "shape [10]"),
        (client.post(URL, json=build_document(shape=[5, 2], data=ROWS.reshape(-1).tolist())), 400, "shape [5, 2]"),
        (client.post(URL, json=build_document(data=[[1, 2, 3, 4, 5], [1]])), 400, "unevenly"),
        (client.post(URL, json=build_document(data=["1"] * 10)), 400, "is a string"),
        (client.post(URL, json=build_document(datatype="BYTES", data=["1"] * 10)), 400, "of BYTES"),
        (client.post(URL, json=build_document(datatype="UINT8", data=[300] * 10)), 400, "too large"),
        (client.post(URL, json=build_document(datatype="FLOAT")), 400, "no datatype FLOAT"),
        (client.post(URL, json=build_document(datatype="BF16")), 400, "BF16 has no form"),
        (client.post(URL, json=build_document(data=[1e39] * 10)), 400, "too large for a float32"),
        (client.post(URL, json=build_document(shape=[-2, 5])), 400, "/shape"),
        (client.post(URL, json=build_document(shape=[10**18, 10**18])), 400, "/inputs/0/shape"),
        (client.post(URL, json=build_document(shape=[10**30, 0], data=[])), 400, "/inputs/0/shape"),
        (client.post(URL, json=build_document(shape=[2**31 - 1] * 3 + [0], data=[])), 400, "do not fill"),
        (client.post(URL, json={**build_document(), "outputs": [{"name": "y"}]}), 400, "no output y"),
        (post_binary(client, ROWS.tobytes(), length=10**6), 400, "announced with 1000000"),
        (post_binary(client, ROWS.tobytes(), size=10**6), 400, "bytes are left"),
        (post_binary(client, ROWS.tobytes() + b"x", size=ROWS.nbytes), 400, "belong to no input"),
        (post_binary(client, ROWS.tobytes()[:-4]), 400, "do not fill"),
        (post_binary(client, b"", shape=[2**31 - 1] * 3 + [0]), 400, "do not fill"),
        (client.post(URL, json=build_document(shape=[101, 5], data=[0] * 505)), 413, "101 rows"),
        (client.post(URL, content=b" " * 200_000), 413, "larger than"),
        (client.get("/v2/models/other"), 404, "no model other"),
        (client.get("/v2/models/wti/versions/9/ready"), 404, "no version 9"),
        (client.post("/v2/models/other/infer", json=build_document()), 404, "no model other"),
        (client.post("/v2/repository/index"), 404, "no POST /v2/repository/index"),
        (client.get(URL), 405, "another method"),
    ]
    wrong = []
    for answer, status, part in cases:
        document = answer.json()
        if answer.status_code != status or set(document) != {"error"} or part not in document["error"]:
            wrong.append((part, answer.status_code, document))
    assert wrong == []
    assert client.app.budget.held == 0


def test_a_large_answer_is_compressed_for_who_accepts_it(folder, monkeypatch):
    places, compress = [], open_inference.compress
    monkeypatch.setattr(open_inference, "compress", lambda *words: places.append(in_event_loop()) or compress(*words))
    monkeypatch.setattr(open_inference, "INLINE_BYTES", 10_000)
    client = TestClient(open_service(folder, max_rows=2000))
    document = build_document(shape=[1000, 5], data=[0.5] * 5000)
    plain = client.post(URL, json=document, headers={"Accept-Encoding": "identity"})
    packed = client.post(URL, json=document, headers={"Accept-Encoding": "br;q=1, gzip;q=0.5"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json() == plain.json()
    assert places == [False]
    assert int(packed.headers["content-length"]) < len(gzip.compress(plain.content)) * 2


def test_not_ready_while_it_stops(folder):
    app = open_service(folder)
    client = TestClient(app)
    assert client.get("/v2/health/ready").json() == {"ready": True}
    app.stopping = True
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/health/live").status_code == 200
