"""Endpoints on a real plane, over TLS: an alias moves under load; servers, worker and launcher are killed; the plane
is away."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import threading
import time

import pytest

from apps.core.errors import PlaneError
from controlplane.rest_client import ApiError
from tests.certificates import make_certificate
from tests.faults.conftest import start_plane
from tests.ports import find_free_port
from workers.endpoints.server_process import ServerProcess

pytestmark = pytest.mark.once_on_sqlite  # what serves asks the plane by REST
PATIENCE = 180.0
FEATURES = json.dumps({"features": [0.1, 0.2, 0.3]})
BODY = {"name": "oil", "model": "oil", "nodes": ["faulty"], "replicas": 1}
CONTEXTS: list[ssl.SSLContext] = []  # the last one verifies the certificate that the servers have now
GAS = BODY | {"name": "gas", "model": "gas"}


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory, template, services):
    first = find_free_port()
    folder = tmp_path_factory.mktemp("endpoint")
    home, certificate = folder / "home", make_certificate(folder / "endpoint.pem")
    files = {"ENDPOINT_CERTIFICATE": str(certificate), "ENDPOINT_AUTHORITIES": str(certificate)}
    running = start_plane(home, template, services, ENDPOINT_PORTS=f"{first}-{first + 20}", **files)
    CONTEXTS.append(ssl.create_default_context(cafile=certificate))
    yield running
    running.kill_everything()
    for record in (home / "endpoints" / "faulty").glob("replica-*.json"):  # that a worker started while it was killed
        server = ServerProcess.adopt(json.loads(record.read_text()))
        if server is not None:
            server.send(signal.SIGKILL)


@pytest.fixture
def plane(shared_plane):
    """The plane of this file, which runs: a test may have stopped it."""
    if shared_plane.launcher.poll() is not None:
        shared_plane.start()
    return shared_plane


def call_code(plane, text: str):
    return plane.ask(f"from tests.faults import served_models as m; print(m.{text})")


def wait_until(plane, condition, name: str = "oil", seconds: float = PATIENCE) -> dict:
    deadline, document = time.monotonic() + seconds, {}
    while True:
        with contextlib.suppress(ApiError, PlaneError, OSError):
            document = plane.plane.get(f"/endpoints/{name}")
            if condition(document):
                return document
        assert time.monotonic() < deadline, document
        time.sleep(0.1)


def is_serving(version: int):
    return lambda document: document["state"] == "serving" and document["replicas"][0]["version"] == version


def wait_for_report(plane) -> dict:
    """The endpoint, once the keeper that runs now has reported its server."""
    seen = wait_until(plane, lambda document: True)["replicas"][0]["last_seen"]
    return wait_until(plane, lambda found: is_serving(2)(found) and found["replicas"][0]["last_seen"] > seen)


def wait_until_gone(server: ServerProcess, seconds: float = PATIENCE) -> None:
    """Until it has ended; whether init has taken its status yet is not the point."""
    assert server.wait(seconds), server.pid


def find_server(plane, pid: int) -> ServerProcess:
    """The server of this process id, by the state file of its replica."""
    records = [json.loads(path.read_text()) for path in (plane.home / "endpoints" / "faulty").glob("replica-*.json")]
    [server] = [ServerProcess.adopt(record) for record in records if record["pid"] == pid]
    assert server is not None, records
    return server


def find_serving(plane, condition=lambda document: True) -> tuple[ServerProcess, dict]:
    """The server of gas that answers, and its replica, once both fit."""
    document = wait_until(plane, lambda found: is_serving(1)(found) and condition(found), "gas")
    replica = document["replicas"][0]
    return find_server(plane, replica["process_id"]), replica


def predict(url: str, token: str = "") -> tuple[int, str, object]:
    """Status, version and prediction of one answer; OSError where nobody listens."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    assert url.startswith("https://"), url
    connection = http.client.HTTPSConnection(url.removeprefix("https://"), timeout=60, context=CONTEXTS[-1])
    with contextlib.closing(connection):
        connection.request("POST", "/predict", FEATURES, headers)
        response = connection.getresponse()
        prediction = json.loads(response.read()).get("prediction")
        return response.status, response.headers.get("X-Model-Version", ""), prediction


def ask(url: str) -> tuple[int, str]:
    return predict(url)[:2]


def is_verified(url: str) -> bool:
    with contextlib.suppress(ssl.SSLCertVerificationError):
        return predict(url)[0] == 401
    return False


def wait_for(condition, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Load(threading.Thread):
    """One client that asks again and again; each answer is kept."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.answers, self.ended = url, [], threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.005):
            try:
                self.answers.append(ask(self.url))
            except OSError as failure:
                self.answers.append((0, str(failure)))


def wait_for_answer(url: str, seconds: float) -> float:
    """Seconds until the server answers again."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ask(url)[0] == 200:
                return time.monotonic() - began
        assert time.monotonic() - began < seconds
        time.sleep(0.02)


def test_an_endpoint_follows_approvals_and_outlives_its_keeper(plane):
    assert call_code(plane, "register('oil', 1)") == 1
    call_code(plane, "promote('oil', 1)")
    plane.plane.post("/endpoints", BODY)
    document = wait_until(plane, is_serving(1))
    url = document["replicas"][0]["url"]
    assert ask(url) == (200, "1")

    # The alias moves by an approval under load: no request fails, and the trail names the approval.
    call_code(plane, "register('oil', 2)")
    load = Load(url)
    load.start()
    wait_for(lambda: load.answers)
    approval = call_code(plane, "promote('oil', 2)")
    wait_until(plane, is_serving(2))
    wait_for(lambda: load.answers[-1][1] == "2")
    load.ended.set()
    load.join()
    assert {status for status, _ in load.answers} == {200}
    assert {version for _, version in load.answers} == {"1", "2"}
    serve = call_code(plane, "list_actions('endpoint.serve')")
    assert [(row["version"], row["approval"]) for row in serve][-1] == (2, approval)

    # A version that takes other inputs is refused, and the old one goes on.
    call_code(plane, "register('oil', 3, 4)")
    call_code(plane, "promote('oil', 3)")
    wait_until(plane, lambda found: found["state"] == "degraded" and "features" in found["reason"])
    assert ask(url) == (200, "2")
    call_code(plane, "promote('oil', 2)")
    document = wait_until(plane, is_serving(2))

    # kill -9 of the server: it is back.
    pid = document["replicas"][0]["process_id"]
    os.kill(pid, signal.SIGKILL)
    print(f"server back after {wait_for_answer(url, PATIENCE):.2f} s")
    document = wait_until(plane, lambda found: is_serving(2)(found) and found["replicas"][0]["process_id"] != pid)

    # kill -9 of the worker, then of the launcher: the server goes on, and is adopted.
    pid = document["replicas"][0]["process_id"]
    worker = plane.facts()["processes"]["worker"]
    plane.kill("worker", 0)
    assert ask(url) == (200, "2")
    wait_until(plane, lambda found: plane.facts()["processes"]["worker"] != worker)
    assert wait_for_report(plane)["replicas"][0]["process_id"] == pid
    plane.kill("launcher", 0)
    time.sleep(3)
    assert ask(url) == (200, "2")
    plane.start()
    assert wait_for_report(plane)["replicas"][0]["process_id"] == pid

    # An orderly stop ends it.
    server = find_server(plane, pid)
    plane.stop()
    wait_until_gone(server)


@contextlib.contextmanager
def freeze(plane, *names: str):
    """The processes of these parts of the plane do nothing."""
    groups = [plane.part(name).pid for name in names]
    for number in groups:
        os.killpg(number, signal.SIGSTOP)
    try:
        yield
    finally:
        for number in groups:
            os.killpg(number, signal.SIGCONT)


def test_shadow_suspend_tokens_and_delete_with_a_real_server(plane):
    for seed in (1, 2):
        call_code(plane, f"register('gas', {seed})")
    call_code(plane, "promote('gas', 1)")
    plane.plane.post("/endpoints", GAS)
    server, replica = find_serving(plane)
    url, alone = replica["url"], predict(replica["url"])

    # The candidate in shadow sees every request; its answers are compared and not returned.
    plane.plane.call("PATCH", "/endpoints/gas", {"shadow": {"version": 2, "rate": 1.0}})
    find_serving(plane, lambda found: found["replicas"][0]["figures"].get("shadow"))
    assert [predict(url) for _ in range(20)] == [alone] * 20
    _, replica = find_serving(plane, lambda found: found["replicas"][0]["figures"]["shadow"]["rows"] == 20)
    shadow = replica["figures"]["shadow"]
    assert (shadow["version"], shadow["failed"], shadow["agreed"] < 20) == ("2", 0, True), shadow

    # The plane is away: the server goes on, and comes back when it dies.
    with freeze(plane, "web", "dispatcher"):
        assert [predict(url) for _ in range(20)] == [alone] * 20
        server.send(signal.SIGKILL)
        print(f"server back after {wait_for_answer(url, PATIENCE):.2f} s without a plane")
        assert predict(url) == alone
    killed = server.pid
    server, _ = find_serving(plane, lambda found: found["replicas"][0]["process_id"] != killed)

    # Suspended: no server. Resumed with a token: it asks for it, and takes another one without a stop.
    plane.plane.post("/endpoints/gas/suspend", {"reason": "maintenance"})
    wait_until_gone(server)
    with pytest.raises(OSError, match="refused"):
        predict(url)
    first = plane.plane.post("/endpoints/gas/token")["token"]
    plane.plane.post("/endpoints/gas/resume")
    server, _ = find_serving(plane)
    assert (predict(url)[0], predict(url, first)) == (401, alone)
    assert plane.plane.post("/endpoints/gas/predict", json.loads(FEATURES))["status"] == 200

    # A renewed certificate is taken without a stop.
    certificate = make_certificate(plane.home.parent / "endpoint.pem")
    CONTEXTS.append(ssl.create_default_context(cafile=certificate))
    wait_for(lambda: is_verified(url))
    answer = plane.plane.post("/endpoints/gas/predict", json.loads(FEATURES))
    assert (answer["status"], server.is_gone()) == (200, False)
    second = plane.plane.post("/endpoints/gas/token")["token"]
    wait_for(lambda: predict(url, second)[0] == 200)
    assert (predict(url, first)[0], server.is_gone()) == (401, False)

    # Deleted: no server.
    plane.plane.call("DELETE", "/endpoints/gas")
    wait_until_gone(server)
    with pytest.raises(OSError, match="refused"):
        predict(url)
