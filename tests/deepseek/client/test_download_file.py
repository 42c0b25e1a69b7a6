"""A download is whole and right, or it is not there; and nothing leaves its folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deepseek.client import ClientError, PlaneUnreachable
from deepseek.client.downloads import RemoteFile, download_file, fetch_files, resolve_target

BYTES = bytes(range(256)) * 20_000
DIGEST = hashlib.sha256(BYTES).hexdigest()


def test_download_goes_on_where_it_broke_off(serve, connect, tmp_path):
    def handler(request) -> None:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        rest = BYTES[start:]
        status = 206 if start else 200
        request.answer(status, rest[: 2 << 20], Content_Length=str(len(rest)))
        request.close_connection = True

    server = serve(handler)
    download_file(connect(server), "/artifact", DIGEST, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BYTES
    assert len(server.requests) > 1
    assert server.requests[1][2]["If-Range"] == f'"sha256:{DIGEST}"'


def test_server_without_ranges_sends_all_again(serve, connect, tmp_path):
    def handler(request) -> None:
        sent = BYTES if len(server.requests) > 1 else BYTES[: 3 << 20]
        request.answer(200, sent, Content_Length=str(len(BYTES)))
        request.close_connection = True

    server = serve(handler)
    download_file(connect(server), "/artifact", DIGEST, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BYTES


def test_other_bytes_are_not_kept(serve, connect, tmp_path):
    server = serve(lambda request: request.answer(200, b"other"))
    with pytest.raises(ClientError, match="not those that were asked for"):
        download_file(connect(server), "/artifact", DIGEST, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_broken_download_leaves_nothing(serve, connect, tmp_path, monkeypatch):
    monkeypatch.setattr("deepseek.client.downloads.ATTEMPTS", 2)
    server = serve(lambda request: request.break_off(b"part", Content_Length="100"))
    with pytest.raises(PlaneUnreachable):
        download_file(connect(server), "/artifact", DIGEST, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/x", "a/../../x", "a//b", "", ".", "a/", "a\\..\\b", "C:x", "a\nb", "a\0b", "b/x" * 200 + "y" * 300],
)
def test_name_that_leads_out_of_the_folder(path, tmp_path, serve, connect):
    server = serve(lambda request: request.answer(200, BYTES))
    with pytest.raises(ClientError) as caught:
        fetch_files(connect(server), "/artifacts", [RemoteFile("ok", DIGEST), RemoteFile(path, DIGEST)], tmp_path)
    assert caught.value.code == "unsafe_path"
    assert (server.requests, list(tmp_path.iterdir())) == ([], [])


def test_link_out_of_the_folder_is_not_followed(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").symlink_to(tmp_path)
    (out / "file").symlink_to(tmp_path / "elsewhere")
    for path in ("link/x", "file"):
        with pytest.raises(ClientError, match="outside"):
            resolve_target(out, path)
    assert resolve_target(out, "a/b.txt") == Path(out / "a/b.txt")


def test_what_is_no_digest_is_not_asked_for(serve, connect, tmp_path):
    server = serve(lambda request: request.answer(200, BYTES))
    with pytest.raises(ClientError, match="SHA-256"):
        download_file(connect(server), "/artifacts/../me", "../me", tmp_path / "file")
    assert server.requests == []
