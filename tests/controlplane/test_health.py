import json
import shutil
import time

import pytest
from django.core.cache import cache
from django.db import connection

from apps.platform.jobs.scheduling import liveness
from apps.platform.nodes import disks
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
    for part in liveness.PARTS:
        liveness._last_beats.clear()
        liveness.record_beat(part)
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
    disks = {"home_disk", "store_disk", "scratch_disk"}
    assert set(parts) == {"database", "broker", "store", "malware_scanner", "dispatcher", "sealer", *disks}
    assert all(parts[disk]["free_bytes"] > 0 for disk in disks)
    assert all(part["ok"] and part["detail"] for part in parts.values())
    assert parts["dispatcher"]["age_seconds"] < 5
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("part", "spoil"),
    [
        ("dispatcher", lambda home: cache.set("pulse:dispatcher", time.time() - 11)),
        ("dispatcher", lambda home: cache.set("pulse:dispatcher", time.time() + 3600)),  # the clock was set back
        ("sealer", lambda home: cache.delete("pulse:sealer")),
        ("broker", lambda home: replace_by_file(home / "broker/queue")),
        ("store", lambda home: (home / "artifacts/sha256").rmdir()),
    ],
)
def test_one_part_away_is_503_and_named(client, home, part, spoil):
    client.get("/readyz")
    spoil(home)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert [name for name, found in answer.json()["parts"].items() if not found["ok"]] == [part]


def replace_by_file(folder):
    folder.rmdir()
    folder.touch()


@pytest.mark.django_db
def test_missing_broker_folder_is_made(client, home):
    for folder in ("broker/queue", "broker/control", "broker"):
        shutil.rmtree(home / folder, ignore_errors=True)
        assert client.get("/readyz").status_code == 200
        assert (home / "broker/queue").is_dir()


@pytest.mark.django_db
def test_short_disk_is_a_warning_and_a_full_one_is_503(client, home, monkeypatch):
    gigabyte, wrong = 10**9, {}
    states = {  # free bytes of 100 GB, with 512 MiB or 5 % needed: (status, parts not ready, parts with a warning)
        3 * gigabyte: (200, [], []),
        gigabyte // 2: (200, [], ["home_disk", "store_disk", "scratch_disk"]),
        1000: (503, ["home_disk", "store_disk"], ["scratch_disk"]),
    }
    for free, expected in states.items():
        monkeypatch.setattr(disks, "get_disk_space", lambda folder, free=free: (100 * gigabyte, free))
        answer = client.get("/readyz")
        parts = answer.json()["parts"]
        unready = [name for name, part in parts.items() if not part["ok"]]
        found = (answer.status_code, unready, [name for name, part in parts.items() if part.get("warning")])
        if found != expected:
            wrong[free] = found
    assert wrong == {}


def test_share_bounds_what_a_small_disk_needs():
    """On a disk of 90 MB 5 % is less than DISK_SHORT_BYTES, and counts."""
    small = disks.Disk("home", 5_000_000, 90_000_000)
    assert (small.needed_bytes, small.is_short) == (4_500_000, False)


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
    assert health.check_part("broker", health.check_broker) == {"ok": False, "detail": "failed: ConnectionError"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_only_reads(client, db, path):
    assert client.post(path).status_code == 405
