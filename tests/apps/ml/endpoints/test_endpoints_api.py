import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.apps.ml.endpoints.conftest import BODY

pytestmark = pytest.mark.django_db


@pytest.fixture
def server():
    """A stand-in for a server of an endpoint; `server.status` is its answer's."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps({"prediction": body["features"]}).encode()
            self.send_response(self.server.status)
            self.send_header("Location", "http://192.0.2.1/")
            self.send_header("X-Model-Version", "1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *parts):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as at:
        at.status = 200
        threading.Thread(target=at.serve_forever, daemon=True).start()
        yield at
        at.shutdown()


def test_create_look_change_and_delete(node, version, engineer, url, api):
    client = api(engineer)
    created = client.post(url(), BODY, format="json")
    assert (created.status_code, created["Location"]) == (201, url("/oil"))
    document = client.get(url("/oil")).json()
    assert (document["version"], document["replicas"][0]["url"]) == (1, "http://127.0.0.1:8600")
    assert [row["name"] for row in client.get(url()).json()["items"]] == ["oil"]
    assert client.get(url() + "?state=odd").status_code == 422
    assert client.patch(url("/oil"), {"replicas": 2}, format="json").json()["replicas_per_node"] == 2
    assert client.post(url("/oil/suspend"), {"reason": "x"}, format="json").json()["state"] == "suspended"
    assert client.post(url("/oil/suspend"), {}, format="json").status_code == 409
    assert client.post(url("/oil/resume"), {}, format="json").json()["state"] == "starting"
    assert client.delete(url("/oil")).status_code == 204
    assert client.get(url("/oil")).status_code == 404


def test_errors_name_their_fields(node, version, engineer, url, api):
    answer = api(engineer).post(url(), {**BODY, "replicas": 0, "nodes": [], "odd": 1}, format="json")
    assert answer.status_code == 422
    fields = {error["field"] for error in answer.json()["error"]["errors"]}
    assert fields == {"/replicas", "/nodes", "/odd"}


def test_who_may_not(node, version, create, viewer, stranger, url, api):
    create()
    assert api(viewer).post(url(), BODY, format="json").status_code == 403
    assert api(viewer).get(url("/oil")).status_code == 200
    assert api(stranger).get(url("/oil")).status_code == 404


def test_a_try_goes_to_a_registered_server_and_nowhere_else(
    add_node, version, create, report, server, approver, viewer, url, api
):
    port = server.server_address[1]
    add_node("a", ports=(port, port))
    endpoint, client, body = create(), api(approver), {"features": [1, 2]}
    assert client.post(url("/oil/predict"), body, format="json").json()["error"]["code"] == "endpoint_not_serving"
    report(endpoint)
    answer = client.post(url("/oil/predict"), body, format="json").json()
    assert (answer["status"], answer["body"], answer["version"]) == (200, {"prediction": [1, 2]}, "1")
    server.status = 302  # an answer like any other: nothing follows it
    assert client.post(url("/oil/predict"), body, format="json").json()["status"] == 302
    assert client.post(url("/oil/predict"), {**body, "url": "http://x"}, format="json").status_code == 422
    assert api(viewer).post(url("/oil/predict"), body, format="json").status_code == 403
    server.shutdown(), server.server_close()
    gone = client.post(url("/oil/predict"), body, format="json")
    assert (gone.status_code, gone.json()["error"]["code"]) == (502, "endpoint_unreachable")
