"""The command of the text on a host whose only network is a link to the plane: it installs from the plane's index.

    unshare --net --mount --pid --fork --kill-child --propagation private python prove_index.py WHEELS WORK

This namespace is the plane's machine, a second one the host; between them is a veth pair, and neither has a route out.
The last line of the standard output is what came of it, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.deploy.compose import ROOT
from tests.deploy.containers import sh
from tests.faults.homes import prepare_home

PLANE, HOST = "10.88.0.1", "10.88.0.2"
COMMAND = "pip install deepseek-offline --no-cache-dir --index-url=http://internal-repo/simple"


def link_host() -> subprocess.Popen[bytes]:
    """The host's namespace, linked to this one; it lasts as long as the process."""
    waits = ["unshare", "--net", "--mount", "sh", "-c", "echo; exec sleep 900"]
    holder = subprocess.Popen(waits, stdout=subprocess.PIPE)
    holder.stdout.readline()
    sh("ip link set lo up")
    sh(f"ip link add lan0 type veth peer name lan1 netns {holder.pid}")
    sh(f"ip address add {PLANE}/24 dev lan0 && ip link set lan0 up")
    sh(f"nsenter -t {holder.pid} -n sh -c 'ip link set lo up; ip address add {HOST}/24 dev lan1; ip link set lan1 up'")
    return holder


def start_plane(home: Path, wheels: Path) -> subprocess.Popen[bytes]:
    """The web process at port 80, which the host's network may read, with the wheels in its index."""
    settings = {"BIND": PLANE, "PORT": "80", "INDEX_ALLOW": f"loopback,{HOST}/32"}
    settings |= {"ALLOWED_HOSTS": "127.0.0.1,internal-repo"}
    environment = {**os.environ, "PLANE_HOME": str(home), **settings}
    prepare_home(environment)
    manage = [sys.executable, str(ROOT / "manage.py")]
    subprocess.run([*manage, "publish_wheels", str(wheels)], env=environment, cwd=ROOT, check=True, stdout=sys.stderr)
    log = (home / "up.log").open("wb")
    up = subprocess.Popen(
        [*manage, "up", "--no-migrate", "--only", "web"], env=environment, cwd=ROOT, stdout=log, stderr=log
    )
    deadline = time.monotonic() + 120
    while not (home / "plane.json").exists():
        if up.poll() is not None or time.monotonic() > deadline:
            sys.exit((home / "up.log").read_text())
        time.sleep(0.1)
    return up


def main(wheels: Path, work: Path) -> dict[str, object]:
    sh("mount -t proc proc /proc")  # of the processes of this namespace
    holder = link_host()
    up = start_plane(work / "home", wheels)
    (work / "hosts").write_text(f"127.0.0.1 localhost\n{PLANE} internal-repo\n")
    sh(f"{sys.executable} -m venv {work}/venv")
    inside = ["nsenter", "-t", str(holder.pid), "-n", "-m", "sh", "-c"]
    own = {"PATH": f"{work}/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(work), "PIP_CONFIG_FILE": os.devnull}
    own["PIP_NO_COMPILE"] = "1"  # nothing of it is run

    def on_host(script: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [*inside, script]
        return subprocess.run(command, env=own | more, capture_output=True, text=True, check=False, timeout=600)

    on_host(f"mount --bind {work}/hosts /etc/hosts")
    untrusted = on_host(f"{COMMAND} --timeout 5 --retries 0")
    trusted = on_host(COMMAND, PIP_TRUSTED_HOST="internal-repo")
    listed = on_host("pip list --format=json")
    facts = {
        "untrusted": untrusted.returncode,
        "why": untrusted.stderr[-500:],
        "trusted": trusted.returncode,
        "output": (trusted.stdout + trusted.stderr)[-2000:],
        "installed": [each["name"] for each in json.loads(listed.stdout or "[]")],
        "routes": on_host("ip route").stdout.splitlines(),
        "doctor": on_host("command -v deepseek").stdout.strip(),
    }
    up.terminate()
    up.wait(30)
    holder.kill()
    return facts


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())) + "\n")
