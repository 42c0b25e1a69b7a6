"""What a page of the package index costs: the list of 5,000 names, one package of 200 versions, the page for people.

    python benchmarks/package_index.py [--packages 5000] [--rounds 200] [--peer PATH/OF/pypi-server]

Starts a gunicorn of its own on SQLite in a temporary home with so many packages. The peer is pypiserver, where `--peer`
names its program, over a folder with as many empty wheels, in the same run, alternately; it has HTML alone.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from upload_memory import ROOT, start

JSON = "application/vnd.pypi.simple.v1+json"
VERSIONS = 200  # of the package that has many
SEED = """
from django.utils import timezone
from apps.platform.artifacts.models import Artifact
from apps.site.mirror.models import *
now = timezone.now()
artifact = Artifact.objects.create(digest="0" * 64, size=1)
made = dict(changed_at=now, created_by="x", version_count=1, latest_version="1.0", summary="A package")
Package.objects.bulk_create([Package(name=f"package-{{n}}", display_name=f"package-{{n}}", skeleton=f"p{{n}}", **made)
    for n in range({packages})], batch_size=500)
IndexSerial.objects.create(pk=1, serial=1, changed_at=now)
first = Package.objects.get(name="package-0")
rows = [(package, "1.0") for package in Package.objects.exclude(pk=first.pk)]
rows += [(first, f"1.{{n}}") for n in range({versions})]
versions = PackageVersion.objects.bulk_create([PackageVersion(package=p, version=v) for p, v in rows], batch_size=500)
PackageFile.objects.bulk_create([PackageFile(version=v, filename=f"{{v.package.name}}-{{v.version}}-py3-none-any.whl",
    filetype="bdist_wheel", artifact=artifact, uploaded_by="x", uploaded_at=now) for v in versions], batch_size=500)
"""


def fill(home: Path, packages: int) -> None:
    env = {**os.environ, "PLANE_HOME": str(home), "DATABASE_URL": "", "BROKER_URL": "", "ARTIFACT_URL": ""}
    code = SEED.format(packages=packages, versions=VERSIONS)
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "--no-imports", "-c", code], cwd=ROOT, env=env, check=True
    )


def start_peer(program: str, folder: Path, packages: int) -> tuple[subprocess.Popen[bytes], int]:
    folder.mkdir()
    names = [f"package_{number}-1.0" for number in range(1, packages)]
    names += [f"package_0-1.{number}" for number in range(VERSIONS)]
    for name in names:
        (folder / f"{name}-py3-none-any.whl").touch()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "run", "-i", "127.0.0.1", "-p", str(port), "--disable-fallback", str(folder)]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        time.sleep(0.1)


def fetch(port: int, path: str, accept: str) -> tuple[float, int]:
    """(milliseconds, bytes) of one request on a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    began = time.perf_counter()
    connection.request("GET", path, headers={"Accept": accept})
    answer = connection.getresponse()
    size = len(answer.read())
    took = (time.perf_counter() - began) * 1000
    connection.close()
    assert answer.status == 200, (path, answer.status)
    return took, size


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--peer", default="")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="package-index-"))
    process, port = start(home / "home")
    started = [process]
    try:
        fill(home / "home", options.packages)
        asked = {"list, JSON": (port, "/simple/", JSON), "list, HTML": (port, "/simple/", "text/html")}
        asked |= {
            f"{VERSIONS} versions, JSON": (port, "/simple/package-0/", JSON),
            f"{VERSIONS} versions, HTML": (port, "/simple/package-0/", "text/html"),
        }
        if options.peer:
            peer, peer_port = start_peer(options.peer, home / "peer", options.packages)
            started.append(peer)
            asked |= {
                "pypiserver: list, HTML": (peer_port, "/simple/", "text/html"),
                f"pypiserver: {VERSIONS} versions, HTML": (peer_port, "/simple/package-0/", "text/html"),
            }
        first = {name: fetch(*request)[0] for name, request in asked.items()}
        times: dict[str, list[float]] = {name: [] for name in asked}
        sizes = {}
        for _ in range(options.rounds):
            for name, request in asked.items():
                took, sizes[name] = fetch(*request)
                times[name].append(took)
        load = os.getloadavg()[0]
        print(f"{options.packages} packages, {options.rounds} alternating rounds, load average {load:.1f}; ms")
        for name, each in times.items():
            p95 = sorted(each)[int(len(each) * 0.95)]
            median = statistics.median(each)
            print(
                f"{name:32} p50 {median:8.1f}  p95 {p95:8.1f}  first {first[name]:8.1f}  {sizes[name] / 1000:8.0f} kB"
            )
        if options.peer:
            for ours, theirs in (("list, HTML", "list, HTML"), (f"{VERSIONS} versions, HTML",) * 2):
                ratio = statistics.median(times[f"pypiserver: {theirs}"]) / statistics.median(times[ours])
                print(f"pypiserver takes {ratio:.1f} times as long: {ours}")
    finally:
        for each in started:
            os.killpg(each.pid, signal.SIGTERM)
            each.wait(20)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
