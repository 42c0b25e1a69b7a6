"""docs/install.md done on a machine without a network: its bash blocks, in order, as root, in the carried folder.

    unshare --net --mount --pid --fork --kill-child --propagation private python prove_install.py SITE WORK

This machine under a layer that is thrown away stands for the new host, with the distribution's PostgreSQL, Redis and
nginx; `systemctl` is init.py. The last line of the standard output is what each block printed, as JSON.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.deploy.compose import ROOT
from tests.deploy.containers import sh
from tests.docs.walkthrough import FENCE, MARK

PYTHON = os.path.realpath(sys.executable)
UNUSED = "torch|sympy|scipy|sklearn|pandas|tvm|networkx|onnx|onnxruntime|tests"
COMPILE = f"/opt/plane/bin/python -m compileall -q -x '/({UNUSED})/' /opt/plane/lib\n"
"""What the plane's own processes load; pip would compile the rest too, two thirds of it and half a minute."""
PATH = f"{Path(PYTHON).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def steps_of(page: Path) -> list[tuple[str, str]]:
    """(script, shown) of each bash block; a text block below it is what it prints."""
    steps: list[tuple[str, str]] = []
    for language, text in FENCE.findall(page.read_text()):
        if language == "bash":
            steps.append((text, ""))
        elif language == "text":
            steps[-1] = (steps[-1][0], text)
    return steps


def new_host(work: Path, site: Path) -> Path:
    """The root of a host with nothing of ours on it but the folder at /site."""
    root = work / "root"
    memory = work / "memory"  # gigabytes are unpacked and thrown away: none of it is worth a disk's time
    sh(f"mkdir -p {root} {memory} && mount -t tmpfs tmpfs {memory} && mkdir {memory}/up {memory}/wk")
    sh(f"mount -t overlay overlay -o lowerdir=/,upperdir={memory}/up,workdir={memory}/wk {root}")
    sh(f"cd {root} && mount --rbind /dev dev && mount -t proc proc proc && mount -t tmpfs tmpfs run && mkdir site")
    sh(f"mount --bind {shlex.quote(str(site))} {root}/site && mount -o remount,ro,bind {root}/site")
    for folder in Path(PYTHON).parents:
        (root / folder.relative_to("/")).chmod(0o755)
    shutil.copy(Path(__file__).with_name("init.py"), root / "opt/init.py")
    (root / "usr/local/sbin").mkdir(parents=True, exist_ok=True)
    (root / "usr/local/sbin/systemctl").write_text(f'#!/bin/sh\nexec {PYTHON} /opt/init.py "$@"\n')
    (root / "usr/local/sbin/systemctl").chmod(0o755)
    (root / "etc/hosts").write_text("127.0.0.1 localhost plane.example\n")
    return root


def inside(root: Path, script: str, **more: str) -> list[str]:
    """The script on the new host, with no variable of this one: nothing tells pip of an index."""
    given = [f"{name}={value}" for name, value in {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **more}.items()]
    return ["chroot", str(root), "env", "-i", "-C", "/site", *given, "bash", "-euo", "pipefail", "-c", script]


def start_database(root: Path) -> None:
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    data, as_postgres = "/var/lib/postgresql/site", "runuser -u postgres -- env -C /"
    script = f"""
        install -d -o postgres -g postgres /run/postgresql /var/lib/postgresql
        rm -rf /var/lib/redis && install -d -o redis -g redis -m 0750 /var/lib/redis
        {as_postgres} {programs}/initdb -D {data} --no-sync --auth-local=peer --auth-host=scram-sha-256 >/dev/null
        {as_postgres} {programs}/pg_ctl -D {data} -w -s -l {data}/log start
    """
    subprocess.run(inside(root, script), check=True)


def main(site: Path, work: Path) -> dict[str, object]:
    root = new_host(work, site)
    sh("ip link set lo up")
    start_database(root)
    steps = [script + (COMPILE if "pip install" in script else "") for script, _ in steps_of(ROOT / "docs/install.md")]
    parts = "".join(f"echo '{MARK.format(number)}'\n{script}" for number, script in enumerate(steps))
    proof = 'echo "-- block 99 --"; plane shell --no-imports -c "import controlplane; print(controlplane.__file__)"'
    done = subprocess.run(
        inside(root, parts + proof, PIP_NO_COMPILE="1"),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        logs = "".join(f"== {path.name}\n{path.read_text()[-1500:]}" for path in (root / "var/log/units").glob("*.log"))
        sys.exit(f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}\n{logs}")
    printed = re.split(r"^-- block \d+ --\n", done.stdout, flags=re.MULTILINE)[1:]
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    return {"printed": printed, "links": [line.split()[0] for line in links.splitlines()]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())) + "\n")
