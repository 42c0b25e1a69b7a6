"""What goes wrong between the plane and a real Label Studio: nothing is lost, and a person reads why it waits."""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.test import Client

from apps.ml.labelling import services
from apps.ml.labelling.models import Annotation, LabellingProject
from apps.ml.labelling.services import importing, syncing
from apps.platform.nodes.samples import get_database_now
from tests.credited_texts import read_texts
from tests.workers.labelling.studio import skip_without_studio
from tests.workers.labelling.test_three_levels import TEMPLATE, build_marks

pytest.importorskip("label_studio_sdk")
skip_without_studio()
pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("label studio")]
TEXTS = read_texts(english=7, chinese=3)


@pytest.fixture
def rings(settings, tmp_path):
    """(path, headers) of the webhooks that arrive where the server believes the plane to be."""
    arrived: queue.Queue = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            arrived.put((self.path, dict(self.headers)))
            self.send_response(503)  # the plane is away: the server does not try again
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    settings.PLANE_HOME = tmp_path
    (tmp_path / "plane.json").write_text(json.dumps({"port": server.server_port}))
    yield arrived
    server.shutdown()
    server.server_close()


@pytest.fixture
def kill_after(monkeypatch, studio):
    """kill_after(module, name): the server is killed once that function has run for the first time."""

    def arrange(module, name):
        real = getattr(module, name)

        def run(**facts):
            monkeypatch.setattr(module, name, real)
            result = real(**facts)
            studio.kill()
            return result

        monkeypatch.setattr(module, name, run)

    return arrange


def read(labelling):
    labelling.refresh_from_db()
    labelling.server.refresh_from_db()
    return labelling.state, labelling.server.state, labelling.failure.get("message", "")


def test_nothing_is_lost_between_the_plane_and_its_server(
    studio, client, rings, kill_after, monkeypatch, create, drive, actor, add_texts
):
    monkeypatch.setattr("workers.labelling.importer.BATCH", 5)
    monkeypatch.setattr("workers.labelling.remote.PAGE_SIZE", 5)
    add_texts("texts", [row.text for row in TEXTS])

    # The server dies in the middle of the import.
    kill_after(importing, "record_imported")
    labelling = create("basic", TEMPLATE, source="texts:v1")
    state, connection, message = read(labelling)
    assert (state, connection, "cannot be reached" in message) == ("importing", "unreachable", True)
    studio.wait()
    drive()
    assert read(labelling) == ("labelling", "healthy", "")
    group = labelling.groups.get()
    assert client.projects.get(id=group.remote_project).task_number == len(TEXTS)

    # A label is renamed there, and somebody uses it.
    rows = list(group.remote_tasks.select_related("task").order_by("number"))
    client.projects.update(id=group.remote_project, label_config=TEMPLATE.replace("PERSON", "HUMAN"))
    marks = [build_marks(text) for text in TEXTS]
    renamed = json.loads(json.dumps(marks[0]).replace("PERSON", "HUMAN"))
    annotation = client.annotations.create(id=rows[0].remote_id, result=renamed, lead_time=2.0)
    drive()
    assert "HUMAN" in read(labelling)[2]
    client.annotations.update(id=annotation.id, result=marks[0])
    client.projects.update(id=group.remote_project, label_config=TEMPLATE)

    # A webhook is lost, then doubled.
    for row, result in zip(rows[1:], marks[1:], strict=True):
        client.annotations.create(id=row.remote_id, result=result, lead_time=2.0)
    path, headers = rings.get(timeout=20)
    assert path.endswith(group.hook_key)
    LabellingProject.objects.update(next_at=get_database_now() + importing.LEASE)
    for secret, status in (("x", 401), (headers["X-Plane-Secret"], 204), (headers["X-Plane-Secret"], 204)):
        assert Client().post(path, headers={"X-Plane-Secret": secret}).status_code == status
    labelling.refresh_from_db()
    assert labelling.next_at <= get_database_now()

    # The server dies in the middle of the synchronization.
    kill_after(syncing, "store_annotations")
    drive()
    assert read(labelling)[1] == "unreachable"
    assert 0 < Annotation.objects.count() < len(TEXTS)
    studio.wait()
    drive()
    assert read(labelling) == ("labelling", "healthy", "")
    assert labelling.progress["tasks"] == {"agreed": len(TEXTS)}
    assert Annotation.objects.count() == len(TEXTS)

    # A personal access token, revoked; then the old token again.
    refresh = client.tokens.create().token
    services.update_server(actor=actor, server=labelling.server, token=refresh)
    drive()
    assert read(labelling) == ("labelling", "healthy", "")
    client.tokens.blacklist(refresh=refresh)
    drive()
    state, connection, message = read(labelling)
    assert (state, connection, "refuses the token" in message) == ("labelling", "refused", True)
    services.update_server(actor=actor, server=labelling.server, token=studio.token)

    # A task is deleted there, and an annotation.
    client.tasks.delete(id=str(rows[2].remote_id))
    client.annotations.delete(id=Annotation.objects.get(task=rows[3].task_id).remote_id)
    drive()
    assert read(labelling) == ("labelling", "healthy", "")
    assert labelling.progress["tasks"] == {"agreed": len(TEXTS) - 1, "open": 1}
    assert client.projects.get(id=group.remote_project).task_number == len(TEXTS)
