"""PUT, GET, HEAD and verify of one object, by the ticket of a batch or by a token."""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.data.repositories import tickets
from apps.platform.accounts.models import ApiToken
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from tests.apps.data.repositories.conftest import LFS, TABLE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]
OID = hashlib.sha256(TABLE).hexdigest()
OCTETS = "application/octet-stream"


def address(answer, action="upload"):
    return answer.json()["objects"][0]["actions"][action]["href"].removeprefix("http://testserver")


def put(client, where, data=TABLE, **more):
    return client.put(where, data, content_type=OCTETS, **more)


@pytest.fixture
def ticket(asker, engineer, dataset):
    """The address of an upload of TABLE."""
    return address(asker(engineer).batch("upload", (OID, len(TABLE))))


def test_an_upload_is_stored_under_its_digest_once(client, project, ticket):
    assert put(client, ticket).status_code == 201
    assert put(client, ticket).status_code == 200
    assert get_store().size(OID) == len(TABLE)
    assert Holding.objects.get(project=project, artifact=OID).created_by == "engineer"
    assert not list(get_store().staging.glob("*"))


def test_a_wrong_digest_leaves_nothing(client, ticket):
    answer = put(client, ticket, TABLE[:-1] + b"x")
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, LFS)
    assert "announced was" in answer.json()["message"]
    assert not get_store().exists(OID)
    assert not Artifact.objects.exists()
    assert not list(get_store().staging.glob("*"))


def test_another_size_is_refused_before_it_is_read(client, ticket):
    assert put(client, ticket, TABLE + b"more").status_code == 422


def test_verify_says_whether_it_is_there(client, asker, engineer, dataset):
    batch = asker(engineer).batch("upload", (OID, len(TABLE)))
    verify = address(batch, "verify")
    body = {"oid": OID, "size": len(TABLE)}
    assert client.post(verify, body, content_type=LFS).status_code == 404
    put(client, address(batch))
    assert client.post(verify, body, content_type=LFS).status_code == 200
    assert client.post(verify, {**body, "size": 1}, content_type=LFS).status_code == 404


def test_a_download_whole_a_range_and_its_head(client, asker, viewer, dataset, held):
    held()
    where = address(asker(viewer).batch("download", (OID, len(TABLE))), "download")
    answer = client.get(where)
    assert (answer.status_code, b"".join(answer)) == (200, TABLE)
    assert (answer.headers["ETag"], answer.headers["Content-Length"]) == (f'"sha256:{OID}"', str(len(TABLE)))
    part = client.get(where, HTTP_RANGE="bytes=4-")
    assert (part.status_code, b"".join(part)) == (206, TABLE[4:])
    assert part.headers["Content-Range"] == f"bytes 4-{len(TABLE) - 1}/{len(TABLE)}"
    assert client.head(where).headers["Content-Length"] == str(len(TABLE))
    assert client.get(where, HTTP_IF_NONE_MATCH=answer.headers["ETag"]).status_code == 304


def test_a_token_does_as_well(asker, engineer, viewer, dataset):
    there = asker(engineer)
    assert put(there.client, f"{there.at}/info/lfs/objects/{OID}", **there.headers).status_code == 201
    assert asker(viewer).get(f"/info/lfs/objects/{OID}").status_code == 200
    refused = put(there.client, f"{there.at}/info/lfs/objects/{OID}", **asker(viewer).headers)
    assert refused.status_code == 403


def test_a_ticket_is_for_one_transfer(client, ticket, held):
    held(b"other")
    other = hashlib.sha256(b"other").hexdigest()
    assert client.get(ticket).status_code == 401  # it is for sending
    assert put(client, ticket.replace(OID, other), b"other").status_code == 401
    assert put(client, ticket.replace("/wti.git/", "/brent.git/")).status_code == 401
    assert put(client, ticket[:-2] + "xx").status_code == 401


def test_a_ticket_ends_with_its_token_and_its_hour(client, ticket, monkeypatch):
    monkeypatch.setattr(tickets, "SECONDS", -1)
    assert put(client, ticket).status_code == 401
    monkeypatch.undo()
    ApiToken.objects.update(revoked_at=timezone.now() - timedelta(seconds=1))
    assert put(client, ticket).status_code == 401


def test_a_ticket_stands_in_no_log(client, ticket, caplog):
    with caplog.at_level(logging.DEBUG):
        put(client, ticket, b"wrong")
        put(client, ticket)
        client.get(ticket.replace("/objects/", "/nothing/"))
    assert "ticket=" not in caplog.text
    word = ticket.partition("ticket=")[2]
    assert word not in caplog.text


def test_over_the_quota_is_refused(client, ticket, limits):
    limits(project_quota_bytes=10)
    answer = put(client, ticket)
    assert (answer.status_code, "PROJECT_QUOTA_BYTES" in answer.json()["message"]) == (507, True)
    assert not get_store().exists(OID)


def test_nothing_at_all_is_an_object_too(client, asker, engineer, dataset):
    empty = hashlib.sha256(b"").hexdigest()
    where = address(asker(engineer).batch("upload", (empty, 0)))
    assert put(client, where, b"", CONTENT_LENGTH="0").status_code == 201
    assert get_store().size(empty) == 0
