"""GET and HEAD of bytes: whole, ranges, conditions."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.platform.artifacts import download_volume
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.services import adopt
from apps.platform.audit.models import AuditRecord

DATA = bytes(range(256)) * 8000  # 2 MB
DIGEST = sha256_hex(DATA)
HERE = f"/api/v1/projects/demo/artifacts/{DIGEST}"
ETAG = f'"sha256:{DIGEST}"'
SIZE = len(DATA)


@pytest.fixture
def sent(kept, stored, worker_actor, project):
    stored(kept, DATA)
    adopt(actor=worker_actor, project=project, digest=DIGEST, size=SIZE, name="日志.html", media_type="text/html")
    return kept


def body(response):
    return b"".join(response.streaming_content) if response.streaming else response.content


def test_whole(sent, api, viewer):
    answer = api(viewer).get(HERE)
    assert (answer.status_code, body(answer) == DATA) == (200, True)
    assert answer.headers["ETag"] == ETAG
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Content-Disposition"].startswith("attachment; filename*=utf-8''%E6")
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_head_is_get_without_the_bytes(sent, api, viewer):
    answer = api(viewer).head(HERE, headers={"Range": "bytes=0-1"})
    assert (answer.status_code, answer.headers["Content-Length"], body(answer)) == (200, str(SIZE), b"")


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=100-": (100, SIZE),
    "bytes=-5": (SIZE - 5, SIZE),
    f"bytes=-{SIZE * 2}": (0, SIZE),
    f"bytes=5-{SIZE * 2}": (5, SIZE),
    f"bytes={SIZE - 1}-{SIZE - 1}": (SIZE - 1, SIZE),
}


def test_ranges(sent, api, viewer):
    client, wrong = api(viewer), {}
    for asked, (start, end) in RANGES.items():
        answer = client.get(HERE, headers={"Range": asked, "If-Range": ETAG})
        found = (answer.status_code, answer.headers["Content-Range"], answer.headers["Content-Length"])
        expected = (206, f"bytes {start}-{end - 1}/{SIZE}", str(end - start))
        if (found, body(answer) == DATA[start:end]) != (expected, True):
            wrong[asked] = found
    assert wrong == {}


def test_ranges_behind_the_end(sent, api, viewer):
    client = api(viewer)
    for asked in (f"bytes={SIZE}-", f"bytes={SIZE * 9}-{SIZE * 10}", "bytes=-0"):
        answer = client.get(HERE, headers={"Range": asked})
        assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}"), asked
        assert answer.json()["error"]["code"] == "range_not_satisfiable", asked


IGNORED_RANGES = [
    {"Range": "bytes=0-1,5-6"},
    {"Range": "bytes=5-2"},
    {"Range": "bytes=-"},
    {"Range": "lines=1-2"},
    {"Range": "bytes=a-b"},
    {"Range": "bytes=0-1", "If-Range": '"sha256:other"'},
    {"Range": "bytes=0-1", "If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"},
]


def test_ranges_that_do_not_count(sent, api, viewer):
    client, wrong = api(viewer), []
    for headers in IGNORED_RANGES:
        answer = client.get(HERE, headers=headers)
        if (answer.status_code, len(body(answer))) != (200, SIZE):
            wrong.append((headers, answer.status_code))
    assert wrong == []


def test_what_the_client_has_is_not_sent_again(sent, api, viewer):
    client, expected = api(viewer), {ETAG: 304, f'"x", W/{ETAG}': 304, "*": 304, '"x"': 200, DIGEST: 200}
    answers = {known: client.get(HERE, headers={"If-None-Match": known}) for known in expected}
    assert {known: answer.status_code for known, answer in answers.items()} == expected
    assert {answer.headers["ETag"] for answer in answers.values()} == {ETAG}


def test_who_may(folder, stored, worker_actor, project, api, engineer, stranger):
    stored(folder, DATA)
    adopt(actor=worker_actor, project=project, digest=DIGEST, size=SIZE)
    for address in (HERE, f"{HERE}/info"):
        assert [api(who).get(address).status_code for who in (engineer, stranger)] == [200, 404], address


def test_another_projects_bytes_are_absent(sent, api, stranger, other_project):
    address = HERE.replace("demo", "other")
    assert api(stranger).get(address).status_code == 404
    Holding.objects.create(project=other_project, artifact_id=DIGEST, name="theirs")
    assert api(stranger).get(f"{address}/info").json()["name"] == "theirs"


def test_a_damaged_artifact_is_not_sent_but_described(sent, api, viewer):
    Artifact.objects.update(damaged_at=timezone.now())
    answer = api(viewer).get(HERE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "artifact_damaged")
    assert api(viewer).get(f"{HERE}/info").json()["damaged"] is True


def test_bytes_that_are_gone_are_a_named_error(sent, lose, api, viewer):
    lose(sent, DIGEST)
    assert api(viewer).get(HERE).json()["error"]["code"] == "artifact_damaged"


def test_a_malformed_digest_is_named(api, viewer):
    answer = api(viewer).get(HERE[:-1])
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "digest")


def test_the_volume_of_an_account_is_recorded_from_so_much_on(sent, api, viewer, monkeypatch):
    monkeypatch.setattr(download_volume, "COUNTER", download_volume.DownloadCounter())
    monkeypatch.setattr(download_volume, "RECORD_BYTES", SIZE * 2)
    for ranges in ({}, {}, {}, {"Range": "bytes=0-3"}):
        body(api(viewer).get(HERE, headers=ranges))
    row = AuditRecord.objects.get(action="artifact.download")
    assert json.loads(row.body)["after"] == {"bytes": SIZE * 2, "downloads": 2}
    assert download_volume.COUNTER.totals == {"user viewer": (SIZE + 4, 2)}
