import json
import time

import pytest
from django.core.cache import cache
from django.db import connection

from apps.jobs import pulse
from controlplane import health

pytestmark = pytest.mark.services


@pytest.fixture
def home(tmp_path, settings):
    """A home in which everything is there and alive."""
    settings.PLANE_HOME = tmp_path
    settings.EMBEDDED_BROKER = True
    settings.CELERY_BROKER_FOLDER = tmp_path / "broker"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    for folder in ("broker/queue", "artifacts/sha256"):
        (tmp_path / folder).mkdir(parents=True)
    for part in pulse.PARTS:
        pulse._beaten.clear()
        pulse.beat(part)
    return tmp_path


def test_healthz_asks_nobody(client, db, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.django_db
def test_readyz_names_every_part(client, home):
    answer = client.get("/readyz")
    parts = answer.json()["parts"]
    assert answer.status_code == 200, parts
    assert set(parts) == {"database", "broker", "store", "dispatcher", "sealer"}
    assert all(part["ok"] and part["detail"] for part in parts.values())
    assert parts["dispatcher"]["age_seconds"] < 5
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("part", "spoil"),
    [
        ("dispatcher", lambda home: cache.set("pulse:dispatcher", time.time() - 11)),
        ("sealer", lambda home: cache.delete("pulse:sealer")),
        ("broker", lambda home: (home / "broker/queue").rmdir()),
        ("store", lambda home: (home / "artifacts/sha256").rmdir()),
    ],
)
def test_one_part_away_is_503_and_named(client, home, part, spoil):
    client.get("/readyz")
    spoil(home)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert [name for name, found in answer.json()["parts"].items() if not found["ok"]] == [part]


@pytest.mark.django_db
def test_a_fault_shows_its_kind_and_not_its_text(client, home, monkeypatch):
    def broken():
        raise ConnectionError("redis://:secret@10.0.0.1:6379 refused")

    monkeypatch.setitem(health.PARTS, "broker", broken)
    answer = client.get("/readyz")
    assert answer.json()["parts"]["broker"] == {"ok": False, "detail": "failed: ConnectionError"}
    assert "secret" not in json.dumps(answer.json())


@pytest.mark.django_db
def test_a_database_that_is_away_is_no_500(client, home, monkeypatch):
    from django.db import OperationalError

    def away(*args, **kwargs):
        raise OperationalError("password=secret")

    monkeypatch.setattr(connection, "cursor", away)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]["database"]["detail"]) == (503, "failed: OperationalError")


def test_redis_is_pinged(settings):
    settings.EMBEDDED_BROKER = False
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:1/0"
    assert health.state_of("broker", health.broker) == {"ok": False, "detail": "failed: ConnectionError"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_only_reads(client, db, path):
    assert client.post(path).status_code == 405
