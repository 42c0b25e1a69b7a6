"""A byte that a disk has flipped: no client of the real server gets it, and pushing the same file again repairs it."""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from urllib.parse import urlsplit

from apps.core.canonical import sha256_hex

CHUNK = 1 << 20


def test_no_client_gets_it_and_the_next_push_repairs_it(plane, client, url):
    data = os.urandom(5 * CHUNK // 2)
    digest = sha256_hex(data)
    client.run("init", "flipped")
    client.at = client.at / "flipped"
    client.write(".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n")
    client.write("weights.bin", data)
    client.commit()
    client.run("push", url("flipped"), "main")
    flip(Path(plane.home) / "artifacts" / "sha256" / digest[:2] / digest[2:], CHUNK + 7)

    assert fetch(plane, digest) == (200, data[:CHUNK])
    assert fetch(plane, digest)[0] == 500
    assert "weights.bin" in client.run("clone", url("flipped"), "fresh", status=1)

    client.run("lfs", "push", "--all", url("flipped"), "main")
    assert fetch(plane, digest) == (200, data)
    client.run("clone", url("flipped"), "again")
    assert (client.at / "again" / "weights.bin").read_bytes() == data


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def fetch(plane, digest: str) -> tuple[int, bytes]:
    """(status, the bytes that came before the connection ended); a body that ends early is an error to any client."""
    where = urlsplit(plane.facts()["address"])
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    path = f"/api/v1/projects/demo/artifacts/{digest}"
    connection.request("GET", path, headers={"Authorization": f"Bearer {plane.token}"})
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    except http.client.IncompleteRead as cut:
        return answer.status, cut.partial
    finally:
        connection.close()
