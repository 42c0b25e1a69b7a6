"""PUT and POST of bytes."""

from __future__ import annotations

import base64
import hashlib
import io

import pytest

from apps.core.canonical import sha256_hex
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.audit.models import AuditRecord

DATA = b"weights " * 50_000
DIGEST = sha256_hex(DATA)
LIST = "/api/v1/projects/demo/artifacts"
HERE = f"{LIST}/{DIGEST}"
RFC_9530 = f"sha-256=:{base64.b64encode(hashlib.sha256(DATA).digest()).decode()}:"


def send(
    client, address=HERE, data=DATA, method="put", content_type="application/octet-stream", length=None, **headers
):
    announced = {} if length is None else {"CONTENT_LENGTH": length}
    return getattr(client, method)(address, data, content_type=content_type, headers=headers, **announced)


def test_a_name_in_an_unknown_encoding(kept, api, engineer):
    answer = send(api(engineer), **{"Content-Disposition": "attachment; filename*=bogus''x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_disposition")


@pytest.mark.parametrize(("method", "address"), [("put", HERE), ("post", LIST)])
def test_new_bytes_are_201_known_ones_200(kept, api, engineer, method, address):
    name = {"Content-Disposition": 'attachment; filename="../../w.bin"'}
    first, again = (send(api(engineer), address, method=method, **name) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert {key: first.json()[key] for key in ("digest", "size", "name", "media_type")} == {
        "digest": DIGEST,
        "size": len(DATA),
        "name": "w.bin",
        "media_type": "application/octet-stream",
    }
    assert first.headers["Location"] == HERE
    assert b"".join(kept.open(DIGEST)) == DATA


@pytest.mark.parametrize(
    "headers", [{"Content-Digest": RFC_9530}, {"X-Content-Digest": f"sha256:{DIGEST}"}, {"X-Content-Digest": DIGEST}]
)
def test_an_announced_digest_is_checked(folder, api, engineer, headers):
    wrong = send(api(engineer), LIST, DATA + b"x", method="post", **headers)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "digest_mismatch")
    assert sha256_hex(DATA + b"x") in wrong.json()["error"]["message"]
    assert DIGEST in wrong.json()["error"]["message"]
    assert send(api(engineer), LIST, method="post", **headers).status_code == 201


INVALID_UPLOADS = [
    ({"address": f"{LIST}/{'0' * 64}"}, 422, "digest_mismatch"),
    ({"address": f"{LIST}/..%2f..%2fetc"}, 404, "not_found"),
    ({"address": f"{LIST}/..secret"}, 422, "bad_digest"),
    ({"address": f"{LIST}/{DIGEST.upper()}"}, 422, "bad_digest"),
    ({"data": b"", "length": "0"}, 422, "empty_body"),
    ({"content_type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
    ({"content_type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    ({"content_type": "bytes"}, 422, "bad_media_type"),
    ({"Content-Digest": "sha-256=:AAAA:"}, 422, "bad_digest"),
    ({"X-Content-Digest": "0" * 64}, 422, "digest_mismatch"),
    ({"X-Content-Digest": "x"}, 422, "bad_digest"),
    ({"data": b""}, 411, "length_required"),
    ({"length": "many"}, 411, "length_required"),
    ({"address": "/api/v1/projects/absent/artifacts/" + DIGEST}, 404, "not_found"),
]


def test_invalid_uploads_are_named(folder, api, engineer, left_behind):
    client = api(engineer)
    for change, status, code in INVALID_UPLOADS:
        answer = send(client, **change)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), change
        assert left_behind(folder) == [], change
    assert not Artifact.objects.exists()


def test_others_may_not(folder, api, viewer, approver, stranger, project):
    assert [send(api(who)).status_code for who in (viewer, approver, stranger)] == [403, 403, 404]
    refused = AuditRecord.objects.filter(result="refused", action="artifact.upload")
    assert sorted(refused.values_list("actor", flat=True)) == ["approver", "viewer"]


def test_nobody_may_not(folder, client, project):
    answer = send(client)
    assert (answer.status_code, "WWW-Authenticate" in answer.headers) == (401, True)


def test_a_read_token_writes_nothing(folder, api, engineer, make_token):
    answer = send(api(make_token(engineer, scopes=["read"])[0]))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing")


@pytest.mark.parametrize(("with_token", "status"), [(False, 403), (True, 201)])
def test_a_session_needs_the_csrf_token(folder, browser, engineer, project, with_token, status):
    client = browser(engineer, csrf=True)
    client.cookies["csrftoken"] = "a" * 32
    answer = send(client, **({"X-CSRFToken": "a" * 32} if with_token else {}))
    assert answer.status_code == status, answer.content


def test_above_the_limit_nothing_is_read(folder, api, engineer, settings):
    settings.ENV = settings.ENV.model_copy(update={"upload_limit_bytes": len(DATA) - 1})
    answer = send(api(engineer))
    assert (answer.status_code, answer.json()["error"]["limit"]) == (413, len(DATA) - 1)


class Terminated(io.BytesIO):
    """The body of a chunked request as a server hands it over; breaks off where `cut` says."""

    def __init__(self, data, cut=None):
        super().__init__(data)
        self.cut = cut

    def read(self, *args):
        if self.cut is not None and self.tell() >= self.cut:
            raise ValueError("no more chunks")
        return super().read(*args)


@pytest.mark.parametrize(
    ("terminated", "cut", "limit", "status"),
    [(True, None, 10**9, 201), (True, 300_000, 10**9, 400), (True, None, 300_000, 413), (False, None, 10**9, 411)],
)
def test_chunked_bodies(folder, api, engineer, settings, left_behind, terminated, cut, limit, status):
    settings.ENV = settings.ENV.model_copy(update={"upload_limit_bytes": limit})
    extra = {"wsgi.input": Terminated(DATA, cut), "wsgi.input_terminated": terminated, "CONTENT_LENGTH": ""}
    answer = api(engineer).generic("POST", LIST, HTTP_TRANSFER_ENCODING="chunked", **extra)
    assert answer.status_code == status
    assert Holding.objects.count() == (status == 201)
    assert left_behind(folder) == []
