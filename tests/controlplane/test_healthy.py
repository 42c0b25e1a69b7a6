"""`manage.py healthy PART`: what a container's health check asks."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db.models.functions import Now

from apps.platform.jobs.scheduling import liveness
from apps.platform.nodes.models import Node

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture(autouse=True)
def _own_cache(settings):
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "healthy"}}
    cache.clear()


def reason(part: str, capsys) -> str:
    """Why it is not healthy; nothing if it is."""
    try:
        call_command("healthy", part)
    except SystemExit:
        return capsys.readouterr().err
    return ""


@pytest.fixture
def answering(settings):
    """answering(status) -> a web process that answers so, at PORT."""
    servers = []

    def serve(status: int) -> None:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status if self.headers["Host"] == "plane.example" else 400)
                self.end_headers()

            def log_message(self, *_):
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Answer))
        Thread(target=servers[-1].serve_forever, daemon=True).start()
        port = servers[-1].server_address[1]
        settings.ENV = settings.ENV.model_copy(update={"port": port, "bind": "0.0.0.0"})
        settings.ALLOWED_HOSTS = ["plane.example"]

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_web_is_asked_by_its_own_name(answering, capsys):
    answering(200)
    assert reason("web", capsys) == ""


def test_web_that_answers_otherwise_is_not_healthy(answering, capsys):
    answering(503)
    assert "answered 503" in reason("web", capsys)


def test_web_that_is_not_there_is_not_healthy(settings, capsys):
    settings.ENV = settings.ENV.model_copy(update={"port": 1, "bind": "127.0.0.1"})
    assert "no answer at 127.0.0.1 port 1" in reason("web", capsys)


def test_a_worker_is_healthy_while_its_node_is_heard_of(settings, capsys):
    settings.ENV = settings.ENV.model_copy(update={"node_name": "alpha"})
    assert "no node 'alpha'" in reason("worker", capsys)
    node = Node.objects.create(name="alpha", host="alpha")
    assert "last heard of at None" in reason("worker", capsys)
    Node.objects.filter(pk=node.pk).update(heartbeat_at=Now())
    assert reason("worker", capsys) == ""


def test_the_dispatcher_is_healthy_while_both_its_pulses_beat(capsys):
    assert "no pulse of the dispatcher" in reason("dispatcher", capsys)
    liveness._last_beats.clear()
    liveness.record_beat("dispatcher")
    assert "no pulse of the sealer" in reason("dispatcher", capsys)
    liveness.record_beat("sealer")
    assert reason("dispatcher", capsys) == ""


def test_beat_is_healthy_while_it_writes_its_schedule(settings, tmp_path, capsys):
    settings.CELERY_BEAT_SCHEDULE_FILENAME = str(tmp_path / "schedule")
    assert "has not begun" in reason("beat", capsys)
    (tmp_path / "schedule.db").touch()
    assert reason("beat", capsys) == ""
    os.utime(tmp_path / "schedule.db", (0, 0))
    assert "last written" in reason("beat", capsys)
