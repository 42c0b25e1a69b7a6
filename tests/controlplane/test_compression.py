"""What goes out compressed, and what must not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.http import FileResponse, HttpResponse, StreamingHttpResponse

from controlplane.compression import Compress

ACCEPTS = {"HTTP_ACCEPT_ENCODING": "gzip, br"}
LONG = b"the same words again and again, " * 40


def through(rf, response, **headers):
    return Compress(lambda request: response)(rf.get("/", **ACCEPTS | headers))


def test_a_page_is_compressed(rf):
    answer = through(rf, HttpResponse(LONG))
    assert answer["Content-Encoding"] == "gzip"
    assert len(answer.content) < len(LONG) / 4
    assert gzip.decompress(answer.content) == LONG


def test_a_browser_that_does_not_take_it_gets_the_page_as_it_is(rf):
    answer = through(rf, HttpResponse(LONG), HTTP_ACCEPT_ENCODING="identity")
    assert not answer.has_header("Content-Encoding")
    assert answer.content == LONG


@pytest.mark.parametrize("path", ["css/components.css", "icons.svg"])
def test_an_asset_of_the_plane_is_compressed(client, path):
    answer = client.get(f"/static/{path}", **ACCEPTS)
    assert answer["Content-Encoding"] == "gzip"
    assert gzip.decompress(b"".join(answer.streaming_content)) == Path(finders.find(path)).read_bytes()


def test_the_bytes_of_an_artifact_keep_their_length_and_digest(rf, tmp_path):
    (tmp_path / "table.csv").write_bytes(LONG)
    answer = through(rf, FileResponse((tmp_path / "table.csv").open("rb"), content_type="application/json"))
    assert not answer.has_header("Content-Encoding")
    assert answer["Content-Length"] == str(len(LONG))


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json", "text/csv"])
def test_a_stream_is_left_alone(rf, kind):
    answer = through(rf, StreamingHttpResponse(iter([LONG]), content_type=kind))
    assert not answer.has_header("Content-Encoding")
