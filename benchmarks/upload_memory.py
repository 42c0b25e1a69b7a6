"""How much memory a web process grows by one large upload, and what the upload costs beside hashing and copying.

    python benchmarks/upload_memory.py [--gigabytes 2] [--rounds 3]

Starts a gunicorn of its own on SQLite in a temporary home, streams bytes from a generator (nothing is kept on this
side either), reads VmRSS and VmHWM of the web process from /proc. The peer: one SHA-256 pass over a file of the same
size and one `cp` of it followed by fsync, in the same run.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "dso_" + secrets.token_urlsafe(32)
BLOCK = 1 << 20
SETUP = """
from datetime import timedelta
from django.utils import timezone
from apps.platform.accounts.models import ApiToken, Membership, Project, User
project = Project.objects.create(slug="demo", name="Demo")
user = User.objects.create(username="sender", must_change_password=False)
Membership.objects.create(project=project, user=user, role="engineer")
ApiToken.objects.create(project=project, user=user, name="t", prefix="dso_", digest="{digest}",
    scopes=["read", "data:write"], expires_at=timezone.now() + timedelta(days=1))
"""


def start(home: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A migrated home with one project and one token, and its gunicorn."""
    env = {**os.environ, "PLANE_HOME": str(home), "DATABASE_URL": "", "BROKER_URL": "", "ARTIFACT_URL": ""}
    setup = SETUP.format(digest=hashlib.sha256(TOKEN.encode()).hexdigest())
    for command in (["migrate", "-v", "0"], ["createcachetable"], ["shell", "-v", "0", "-c", setup]):
        subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=env, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    bind = ["-b", f"127.0.0.1:{port}", "-w", "1", "-k", "gthread", "--threads", "4", "--timeout", "0"]
    command = [sys.executable, "-m", "gunicorn", *bind, "--log-level", "error", "controlplane.wsgi"]
    process = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True)
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        time.sleep(0.1)


def worker_of(process: subprocess.Popen[bytes]) -> int:
    """The process id of gunicorn's one worker."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def memory(pid: int) -> tuple[float, float]:
    """Resident memory now and at its highest, MB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return tuple(int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


def blocks(size: int, seed: int) -> Iterator[bytes]:
    """`size` bytes that differ from round to round, so that nothing is found to be stored already."""
    block = bytearray(os.urandom(BLOCK))
    for number in range(size // BLOCK):
        block[:16] = seed.to_bytes(8, "big") + number.to_bytes(8, "big")
        yield bytes(block)


def upload(port: int, size: int, seed: int) -> float:
    """Seconds of one upload."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Length": str(size)}
    began = time.perf_counter()
    connection.request("POST", "/api/v1/projects/demo/artifacts", body=blocks(size, seed), headers=headers)
    answer = connection.getresponse()
    took = time.perf_counter() - began
    assert answer.status == 201, answer.read()
    connection.close()
    return took


def hash_and_copy(folder: Path, size: int, seed: int) -> float:
    """Seconds of one SHA-256 pass over a file and one copy of it that reaches the disk."""
    source, target = folder / "source", folder / "target"
    with source.open("wb") as file:
        file.writelines(blocks(size, seed))
        os.fsync(file.fileno())
    began = time.perf_counter()
    with source.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    subprocess.run(["cp", source, target], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    source.unlink()
    target.unlink()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    size = int(asked.gigabytes * 1024) * BLOCK
    home = Path(tempfile.mkdtemp(prefix="upload-"))
    process, port = start(home)
    try:
        upload(port, 4 * BLOCK, seed=0)  # what the first request imports is not the upload's
        before = memory(worker_of(process))
        print(f"web process before: {before[0]:.0f} MB resident")
        for number in range(1, asked.rounds + 1):
            took, peer = upload(port, size, number), hash_and_copy(home, size, number)
            now, peak = memory(worker_of(process))
            print(
                f"round {number}: {size / 1e9:.2f} GB, "
                f"growth {now - before[0]:+.1f} MB, peak {peak - before[1]:+.1f} MB, "
                f"upload {took:.1f} s, sha256 + cp + fsync {peer:.1f} s, ratio {took / peer:.2f}"
            )
            shutil.rmtree(home / "artifacts")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
