"""Uploads that are cut off, damaged, or too much: nothing half of them stays, and git-lfs itself puts it right."""

from __future__ import annotations

import hashlib
import json
import secrets
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from urllib.parse import urlsplit

import pytest


@pytest.fixture
def ready(client, url):
    """ready("name", bytes) -> a repository with a commit of one LFS file, of a dataset that is not there yet."""

    def of(name: str, data: bytes, remote: str = ""):
        client.run("init", name)
        client.at = client.at / name
        client.run("lfs", "track", "*.bin")
        client.write("big.bin", data)
        client.commit()
        client.run("remote", "add", "origin", remote or url(name))
        return client

    return of


def staging(plane) -> list:
    return list((plane.home / "artifacts" / "staging").glob("*"))


def stored(plane, digest: str) -> bool:
    return (plane.home / "artifacts" / "sha256" / digest[:2] / digest[2:]).exists()


def until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Cutter:
    """A proxy that cuts the first PUT after some bytes, and lets everything else through."""

    def __init__(self, address: str, after: int) -> None:
        where = urlsplit(address)
        self.target, self.after, self.cuts = (where.hostname, where.port), after, 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client: socket.socket) -> None:
        upstream = socket.create_connection(self.target)
        threading.Thread(target=self.back, args=(upstream, client), daemon=True).start()
        sent, is_put = 0, False
        while data := client.recv(65_536):
            is_put = is_put or data.startswith(b"PUT ")
            upstream.sendall(data)
            sent += len(data)
            if is_put and not self.cuts and sent > self.after:
                self.cuts += 1
                break
        for each in (client, upstream):
            with suppress(OSError):  # a close alone would wait for the thread that reads from it
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def back(self, upstream: socket.socket, client: socket.socket) -> None:
        try:
            while data := upstream.recv(65_536):
                client.sendall(data)
        except OSError:
            pass


def test_a_connection_cut_in_the_middle_is_made_good_by_the_client(plane, ready, url):
    data = secrets.token_bytes(8_000_000)
    cutter = Cutter(plane.facts()["address"], after=2_000_000)
    port = urlsplit(plane.facts()["address"]).port
    here = ready("cut", data, url("cut").replace(f":{port}/", f":{cutter.port}/"))
    here.run("push", "origin", "main")
    cutter.server.close()
    assert cutter.cuts == 1
    assert stored(plane, hashlib.sha256(data).hexdigest())
    until(lambda: not staging(plane))
    assert plane.plane.get("/datasets/cut")["versions"] == 1


def test_a_client_that_is_killed_leaves_nothing_and_pushes_again(plane, ready, url):
    data = secrets.token_bytes(8_000_000)
    digest = hashlib.sha256(data).hexdigest()
    where = urlsplit(plane.facts()["address"])
    here = ready("killed", data)
    batch = ask_batch(plane, "killed", digest, len(data))
    href = urlsplit(batch["actions"]["upload"]["href"])
    with socket.create_connection((where.hostname, where.port)) as half:
        head = f"PUT {href.path}?{href.query} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: {len(data)}\r\n\r\n"
        half.sendall(head.encode() + data[:3_000_000])
        until(lambda: staging(plane))
    until(lambda: not staging(plane))
    assert not stored(plane, digest)
    push = subprocess.Popen(["git", "push", "origin", "main"], cwd=here.at, env=here.env, start_new_session=True)
    push.send_signal(signal.SIGKILL)
    push.wait()
    here.run("push", "origin", "main")
    assert stored(plane, digest)
    assert plane.plane.get("/datasets/killed")["versions"] == 1


def ask_batch(plane, name: str, oid: str, size: int) -> dict:
    """As `git push` does: it asks for the references first, else a dataset that is not there takes no files."""
    refs = f"{plane.facts()['address']}/git/demo/{name}.git/info/refs?service=git-receive-pack"
    urllib.request.urlopen(urllib.request.Request(refs, headers={"Authorization": f"Bearer {plane.token}"})).close()
    body = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": size}]}
    kind = "application/vnd.git-lfs+json"
    headers = {"Authorization": f"Bearer {plane.token}", "Accept": kind, "Content-Type": kind}
    address = f"{plane.facts()['address']}/git/demo/{name}.git/info/lfs/objects/batch"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["objects"][0]


def test_bytes_that_are_not_those_of_the_digest(plane, ready):
    data = secrets.token_bytes(100_000)
    digest = hashlib.sha256(data).hexdigest()
    here = ready("damaged", data)
    local = here.at / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    local.chmod(0o600)
    local.write_bytes(b"x" + data[1:])
    said = here.run("push", "origin", "main", status=1)
    assert "The bytes of big.bin are not here" in said
    assert "not sent, or damaged" in said
    assert not stored(plane, digest)
    assert not staging(plane)
    local.write_bytes(data)
    here.run("push", "origin", "main")
    assert stored(plane, digest)


def test_a_chunked_upload_whose_length_nobody_said(plane):
    data = secrets.token_bytes(2_500_000)
    digest = hashlib.sha256(data).hexdigest()
    href = ask_batch(plane, "chunked", digest, len(data))["actions"]["upload"]["href"]
    pieces = (data[start : start + 100_000] for start in range(0, len(data), 100_000))
    request = urllib.request.Request(href, pieces, {"Content-Type": "application/octet-stream"}, method="PUT")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201
    assert stored(plane, digest)


def test_a_push_over_the_quota_says_so(small_plane, ready):
    scheme, _, rest = small_plane.facts()["address"].partition("://")
    data = secrets.token_bytes(400_000)
    here = ready("much", data, f"{scheme}://git:{small_plane.token}@{rest}/git/demo/much.git")
    said = here.run("push", "origin", "main", status=1)
    assert "may hold 300000" in said
    assert "PROJECT_QUOTA_BYTES" in said
    with pytest.raises(Exception, match="404"):
        small_plane.plane.get("/datasets/much")
    here.write("big.bin", data[:200_000])
    here.run("add", "-A")
    here.run("commit", "--amend", "-m", "less")
    here.run("push", "origin", "main")
    here.write("plain.raw", secrets.token_bytes(200_000))
    here.commit()
    assert "may hold 300000" in here.run("push", "origin", "main", status=1)
    assert small_plane.plane.get("/datasets/much")["versions"] == 1
