"""The same bytes again replace damaged ones, whichever way they come; each repair is recorded."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.core.errors import Refused
from apps.platform.artifacts.bulk_sql import Stored, hold_many
from apps.platform.artifacts.intake import Intake
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import (
    adopt,
    is_marked_damaged,
    list_damaged_digests,
    publish_tracked,
    publish_upload,
    report_damage,
    store_file,
    verify_stored_artifacts,
)
from apps.platform.audit.models import AuditRecord
from tests.apps.platform.artifacts.conftest import overwrite

pytestmark = pytest.mark.services

DATA = b"weights " * 5000
DIGEST = sha256_hex(DATA)


@pytest.fixture
def ways(each_store, engineer, actor_for, worker_actor, operator, project, tmp_path):
    """{name: send DATA that way}"""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    actor = actor_for(engineer)

    def make() -> None:
        with each_store.open_staging() as staging:
            staging.write(DATA)
            staging.publish(is_damaged=is_marked_damaged)
        _, size, chunks, replaced = staging.stored
        adopt(actor=worker_actor, project=project, digest=DIGEST, size=size, chunks=chunks, replaced=replaced)

    def ingest() -> None:
        with Intake(each_store, damaged=list_damaged_digests()) as intake:
            taken = intake.take(path)
            intake.finish()
        one = Stored(taken.digest, taken.size, "x", chunks=taken.chunks, replaced=taken.replaced)
        hold_many(actor=operator, project=project, stored=[one])

    found = {
        "upload": lambda: publish_upload(actor=actor, project=project, stream=[DATA], expected_digest=DIGEST),
        "digest not announced": lambda: publish_upload(actor=actor, project=project, stream=[DATA]),
        "file of a run": lambda: publish_tracked(actor=actor, project=project, stream=[DATA]),
        "pack of a push": lambda: store_file(actor=actor, project=project, path=path),
        "output of a job": make,
    }
    return found | ({"ingest of a folder": ingest} if hasattr(each_store, "staging") else {})


def cut(store) -> None:
    overwrite(store, DIGEST, DATA[:-1])


def mark_with_other_bytes(store) -> None:
    """As after a restore by hand from a backup that is damaged, too."""
    overwrite(store, DIGEST, DATA[:-1] + b"x")
    Artifact.objects.update(damaged_at=timezone.now())


def set_aside(store) -> None:
    store.set_aside(DIGEST)
    Artifact.objects.update(damaged_at=timezone.now())


def test_every_way_in_replaces_what_is_damaged(each_store, ways, project, engineer, actor_for):
    publish_upload(actor=actor_for(engineer), project=project, stream=[DATA])
    wrong, repairs = {}, 0
    for name, send in ways.items():
        for damage in (cut, mark_with_other_bytes, set_aside):
            damage(each_store)
            send()
            repairs += 1
            found = each_store.verify(DIGEST), Artifact.objects.get().damaged_at, count("restored"), count("damaged")
            expected = True, None, repairs, repairs // 3 + bool(repairs % 3)
            if found != expected:
                wrong[name, damage.__name__] = found, expected
    assert wrong == {}


def count(what: str) -> int:
    return AuditRecord.objects.filter(action=f"artifact.{what}", object_id=DIGEST).count()


def test_report_looks_once_more(each_store, stored, worker_actor, project):
    adopt(actor=worker_actor, project=project, digest=stored(each_store, DATA), size=len(DATA))
    report = {"actor": worker_actor, "digest": DIGEST, "reason": "a test"}
    assert (report_damage(**report), each_store.exists(DIGEST), count("damaged")) == (False, True, 0)
    overwrite(each_store, DIGEST, DATA[:-1] + b"x")
    assert (report_damage(**report), each_store.exists(DIGEST), count("damaged")) == (True, False, 1)
    assert (report_damage(**report), count("damaged")) == (True, 1)


def test_nobody_reports_but_the_plane(each_store, engineer, actor_for):
    with pytest.raises(Refused):
        report_damage(actor=actor_for(engineer), digest=DIGEST, reason="")


@pytest.fixture
def repaired_meanwhile(each_store, project, engineer, actor_for, monkeypatch):
    """repaired_meanwhile(damage): damage the object, which an upload repairs at the end of the next reading of it."""
    send = {"actor": actor_for(engineer), "project": project, "stream": [DATA]}
    publish_upload(**send)
    read = type(each_store).hash

    def of(damage):
        damage(each_store)

        def read_and_repair(self, digest, **more):
            monkeypatch.setattr(type(each_store), "hash", read)
            try:
                return read(self, digest, **more)
            finally:
                publish_upload(**send)

        monkeypatch.setattr(type(each_store), "hash", read_and_repair)

    return of


@pytest.mark.parametrize("damage", [cut, mark_with_other_bytes, lambda store: store.set_aside(DIGEST)])
def test_scrub_leaves_alone_what_was_repaired_while_it_read(each_store, repaired_meanwhile, operator, damage):
    repaired_meanwhile(damage)
    verify_stored_artifacts(actor=operator)
    assert (each_store.exists(DIGEST) and each_store.verify(DIGEST), Artifact.objects.get().damaged_at) == (True, None)


def test_report_leaves_alone_what_was_repaired_while_it_read(each_store, repaired_meanwhile, worker_actor):
    repaired_meanwhile(cut)
    assert not report_damage(actor=worker_actor, digest=DIGEST, reason="a test")
    assert (each_store.exists(DIGEST), Artifact.objects.get().damaged_at) == (True, None)


def test_certain_report_reads_again_what_was_repaired_since_it_was_seen(each_store, worker_actor, ways):
    ways["upload"]()
    seen = Artifact.objects.get()
    cut(each_store)
    ways["upload"]()
    report = {"actor": worker_actor, "digest": DIGEST, "reason": "a test", "is_certain": True}
    assert (report_damage(**report, seen=seen), each_store.exists(DIGEST)) == (False, True)
    cut(each_store)
    assert (report_damage(**report, seen=Artifact.objects.get()), each_store.exists(DIGEST)) == (True, False)
