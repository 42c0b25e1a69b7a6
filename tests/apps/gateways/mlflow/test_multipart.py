"""mlflow-artifacts/mpu/*: a file in parts, each to an address with a ticket of its own."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.test import Client

from apps.gateways.mlflow import services
from apps.gateways.mlflow.models import MultipartUpload
from apps.platform.accounts.models import ApiToken
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from tests.apps.gateways.mlflow.conftest import FILES

MPU = "/api/2.0/mlflow-artifacts/mpu/"
PARTS = [b"first " * 10, b"second " * 10, b"third"]


@pytest.fixture
def begun(track, place):
    return track.post(f"{MPU}create/{place}/big", path="/home/me/big.bin", num_parts=3)


def send_part(address, data):
    """Without a token, as a client does."""
    url = urlsplit(address)
    return Client().put(f"{url.path}?{url.query}", data, content_type="application/octet-stream")


def sent(begun, parts=PARTS):
    found = []
    for credential, data in zip(begun["credentials"], parts, strict=True):
        response = send_part(credential["url"], data)
        assert response.status_code == 200, response.content
        found.append({"part_number": credential["part_number"], "etag": response["ETag"], "url": credential["url"]})
    return found


def complete(track, place, begun, parts):
    body = {"path": "/home/me/big.bin", "upload_id": begun["upload_id"], "parts": parts}
    return track.send("POST", f"{MPU}complete/{place}/big", body)


def test_the_parts_become_one_file(track, place, begun):
    parts = sent(begun)
    assert complete(track, place, begun, parts[::-1]).json() == {}
    assert track.send("GET", f"{FILES}{place}/big/big.bin").getvalue() == b"".join(PARTS)
    assert not MultipartUpload.objects.exists()
    assert get_store().area(services.AREA).areas() == []


def test_equal_parts_are_parts_too(track, place, begun):
    parts = sent(begun, [b"same", b"same", b"same"])
    assert complete(track, place, begun, parts).status_code == 200
    assert track.send("GET", f"{FILES}{place}/big/big.bin").getvalue() == b"samesamesame"


@pytest.mark.parametrize("spoil", ["missing", "etag", "number", "more"])
def test_a_part_that_lacks_is_named_and_the_upload_stays(track, place, begun, spoil):
    parts = sent(begun)
    if spoil == "missing":
        parts.pop()
    elif spoil == "more":
        parts.append(parts[0] | {"part_number": 4})
    else:
        parts[1] |= {"etag": '"nonsense"'} if spoil == "etag" else {"part_number": 1}
    response = complete(track, place, begun, parts)
    assert (response.status_code, response.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert complete(track, place, begun, sent(begun)).status_code == 200


def test_a_part_that_was_damaged_is_sent_again(track, place, begun):
    parts = sent(begun)
    area = services.get_staging_area(begun["upload_id"])
    path = area.path_of(parts[1]["etag"].strip('"'))
    path.chmod(0o600)
    path.write_bytes(PARTS[1].upper())
    response = complete(track, place, begun, parts)
    assert (response.status_code, "part 2" in response.json()["message"]) == (400, True)
    assert complete(track, place, begun, sent(begun)).status_code == 200
    assert track.send("GET", f"{FILES}{place}/big/big.bin").getvalue() == b"".join(PARTS)


def test_aborted_nothing_stays(track, place, begun):
    sent(begun)
    body = {"path": "big.bin", "upload_id": begun["upload_id"]}
    assert track.post(f"{MPU}abort/{place}/big", **body) == {}
    assert get_store().area(services.AREA).areas() == []
    assert track.refused("POST", f"{MPU}abort/{place}/big", body)[0] == 404
    assert send_part(begun["credentials"][0]["url"], b"late").status_code == 404
    actions = AuditRecord.objects.filter(action__startswith="multipart").order_by("pk")
    assert list(actions.values_list("action", flat=True)) == ["multipart.begin", "multipart.abort"]


def test_a_ticket_is_for_one_part_and_one_token(track, begun):
    first, second, _ = [one["url"] for one in begun["credentials"]]
    crossed = f"{first.partition('?')[0]}?{second.partition('?')[2]}"
    assert send_part(crossed, b"x").status_code == 401
    assert send_part(first[:-1], b"x").status_code == 401
    assert send_part(first.partition("?")[0], b"x").status_code == 401
    ApiToken.objects.update(revoked_at=ApiToken.objects.get().created_at)
    assert send_part(first, b"x").status_code == 401


WRONG_UPLOADS = [
    ({}, 400),
    ({"path": "x", "num_parts": 0}, 400),
    ({"path": "x", "num_parts": 10_001}, 400),
    ({"path": "x", "num_parts": "many"}, 400),
    ({"path": "..", "num_parts": 1}, 400),
    ({"path": "a/", "num_parts": 1}, 400),
]


def test_wrong_uploads_are_refused(track, place):
    statuses = [track.refused("POST", f"{MPU}create/{place}", body)[0] for body, _ in WRONG_UPLOADS]
    assert statuses == [status for _, status in WRONG_UPLOADS]
    assert not MultipartUpload.objects.exists()


def test_nobody_else_may(client_of, viewer, stranger, place, begun):
    body = {"path": "big.bin", "num_parts": 1, "upload_id": begun["upload_id"]}
    assert client_of(viewer).refused("POST", f"{MPU}create/{place}", body)[0] == 403
    for verb in ("create", "complete", "abort"):
        assert client_of(stranger).refused("POST", f"{MPU}{verb}/{place}/big", body)[0] == 404


def test_a_file_that_is_too_large_ends(begun, settings):
    settings.ENV = settings.ENV.model_copy(update={"upload_limit_bytes": 70})
    assert send_part(begun["credentials"][0]["url"], PARTS[0]).status_code == 200
    assert send_part(begun["credentials"][1]["url"], PARTS[1]).status_code == 413


def test_what_nobody_ends_is_swept(track, place, begun, worker_actor):
    sent(begun)
    services.get_staging_area("0" * 32).open_staging().publish()
    assert services.sweep_uploads(actor=worker_actor) == 1  # the parts that no upload knows
    MultipartUpload.objects.update(created_at=MultipartUpload.objects.get().created_at - timedelta(days=2))
    assert services.sweep_uploads(actor=worker_actor) == 1
    assert get_store().area(services.AREA).areas() == []


def test_the_server_tells_that_it_can(client):
    info = client.get("/api/3.0/mlflow/server-info").json()
    assert info["multipart_uploads_enabled"]
    assert info["multipart_downloads_enabled"]


@pytest.mark.parametrize("number", [2**62, 4, 0, -1])
def test_a_part_that_the_upload_cannot_have_is_refused(track, place, begun, number):
    parts = sent(begun)
    response = complete(track, place, begun, [*parts, parts[0] | {"part_number": number}])
    assert response.status_code == 400
    assert "from 1 to 3" in response.json()["message"]


def test_who_may_not_is_told_before_the_path_is_read(client_of, viewer, place):
    assert client_of(viewer).refused("POST", f"{MPU}create/{place}", {"path": "..", "num_parts": 1})[0] == 403


def test_what_waits_in_other_uploads_takes_room_too(track, place, begun, settings):
    settings.ENV = settings.ENV.model_copy(update={"project_quota_bytes": 100})
    other = track.post(f"{MPU}create/{place}/big", path="other.bin", num_parts=3)
    assert send_part(begun["credentials"][0]["url"], PARTS[0]).status_code == 200
    assert send_part(other["credentials"][0]["url"], PARTS[1]).status_code == 503
    assert send_part(other["credentials"][0]["url"], b"x" * 40).status_code == 200
    assert track.refused("POST", f"{MPU}create/{place}/big", {"path": "third.bin", "num_parts": 1})[0] == 503
