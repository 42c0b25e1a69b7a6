"""Bodies that are compressed, and those for which there is no room."""

import gzip
import json
import zlib

import pytest

from deepseek.serve import bodies
from tests.deepseek.serve.conftest import in_event_loop

ROW = [1, 2, 3, 4, 5]
BODY = json.dumps({"features": [ROW]}).encode()


def test_compressed_bodies(client):
    asked = client()
    raw = zlib.compressobj(wbits=-15)
    forms = {
        "gzip": gzip.compress(BODY),
        "deflate": zlib.compress(BODY),
        "Deflate": raw.compress(BODY) + raw.flush(),
        "identity": BODY,
    }
    plain = asked.post("/predict", content=BODY).json()
    answers = {
        name: asked.post("/predict", content=body, headers={"Content-Encoding": name}) for name, body in forms.items()
    }
    assert {name: answer.json() for name, answer in answers.items()} == dict.fromkeys(forms, plain)


def test_what_cannot_be_decompressed(client, refused):
    asked = client()
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000
    cases = [
        ("br", BODY, 415, "encoding_unknown"),
        ("gzip", BODY, 400, "malformed_body"),
        ("gzip", gzip.compress(BODY)[:-5], 400, "malformed_body"),
        ("gzip", gzip.compress(BODY) + b"more", 400, "malformed_body"),
        ("gzip", bomb[:1000], 413, "too_large"),
    ]
    for encoding, body, status, code in cases:
        refused(asked.post("/predict", content=body, headers={"Content-Encoding": encoding}), status, code)
    assert asked.app.budget.held == 0


def test_no_room_for_more_bodies(client, refused, monkeypatch):
    asked = client(max_rows=4000)
    body = json.dumps({"features": [ROW] * 3000}).encode()
    assert asked.post("/predict", content=body).status_code == 200
    asked.app.budget.limit = 10_000
    answer = asked.post("/predict", content=body)
    refused(answer, 503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert asked.post("/predict", content=BODY).status_code == 200
    assert asked.app.budget.held == 0


def test_a_long_body_is_decompressed_in_a_thread_once_there_is_room(client, refused, monkeypatch):
    asked, places, decompress = client(max_rows=4000), [], bodies.decompress
    monkeypatch.setattr(bodies, "decompress", lambda *words: places.append(in_event_loop()) or decompress(*words))
    rows = [[place * 7919 % 1000, *ROW[1:]] for place in range(3000)]
    body, headers = json.dumps({"features": rows}).encode(), {"Content-Encoding": "gzip"}
    assert asked.post("/predict", content=gzip.compress(body), headers=headers).status_code == 200
    asked.app.budget.limit = 100_000
    refused(asked.post("/predict", content=gzip.compress(body), headers=headers), 503, "overloaded")
    assert (places, asked.app.budget.held) == ([False], 0)


@pytest.mark.parametrize("announced", [bodies.DRAIN_BYTES + 1, 10**30])
def test_a_body_that_is_announced_as_endless_is_not_read(client, refused, announced):
    answer = client().post("/predict", content=iter([BODY]), headers={"Content-Length": str(announced)})
    refused(answer, 413, "too_large")
