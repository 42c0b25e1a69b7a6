"""Every command of docker-compose.yml, run as the file says, on PostgreSQL and Redis and behind nginx: up, healthy,
used over TLS, stopped. In namespaces whose only network is a loopback; run by test_compose_commands.py as root:

    unshare --net --mount --pid --fork --kill-child --propagation private python rehearsal.py WHEEL WORK

The last line of the standard output is what was found, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from controlplane.rest_client import PlaneClient, wait_until_ready
from tests.deploy.compose import ROOT, in_order, services
from tests.deploy.containers import Container, Image, sh

HOST = "plane.example"
ADDRESS = f"https://{HOST}:8443"
PLACES = {"web": "172.31.255.3", HOST: "172.31.255.2", "database": "172.31.254.2", "broker": "172.31.254.3"}
ONLY_ONCE = {"prepare"}
JOB = {"kind": "noop", "spec": {"seconds": 0.2, "steps": 2, "log_lines": 4}}


def lay_network(image_root: Path) -> None:
    """Each service's address on the loopback, and its name in /etc/hosts, inside and outside of the image."""
    sh("ip link set lo up")
    for place in PLACES.values():
        sh(f"ip address add {place}/28 dev lo")
    names = "".join(f"{place} {name}\n" for name, place in PLACES.items())
    (image_root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{names}")
    sh(f"mount --bind {image_root}/etc/hosts /etc/hosts")


def initialise(database: Container) -> None:
    """What the image's entrypoint does with an empty volume: a cluster, its user's password, its database."""
    given = database.spec["environment"]
    user, name = given["POSTGRES_USER"], given["POSTGRES_DB"]
    data, password = "/var/lib/postgresql/data", given["POSTGRES_PASSWORD_FILE"]
    database.run(
        "sh",
        "-ec",
        f"initdb -D {data} --no-sync --username={user} --pwfile={password} {given['POSTGRES_INITDB_ARGS']} >/dev/null\n"
        f"echo 'host all all all scram-sha-256' >> {data}/pg_hba.conf\n"
        f"echo \"listen_addresses = '*'\" >> {data}/postgresql.conf\n"
        f"export PGPASSWORD=$(cat {password}) PGUSER={user} PGHOST=/tmp\n"
        f"pg_ctl -D {data} -o '-k /tmp' -w -s start && createdb {name} && pg_ctl -D {data} -w -s stop\n",
    )


def refused_without_secrets(image: Image, spec: dict[str, Any]) -> dict[str, Any]:
    """A process whose secret is not there: Compose would not even start it."""
    alone = Container(image, "web", {**spec, "secrets": []}, image.work / "secrets")
    done = alone.run(*spec["command"], check=False)
    return {"status": done.returncode, "said": done.stderr.strip().splitlines()[-1]}


def answer_of(url: str, *more: str) -> tuple[int, dict[str, str]]:
    """Status and headers, redirects not followed."""
    command = ["curl", "-s", "-o", "/dev/null", "-D", "-", "--cacert", os.environ["SSL_CERT_FILE"], *more, url]
    first, *lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return int(first.split()[1]), headers


def use(web: Container) -> dict[str, Any]:
    """What people and tools do, over TLS and through the proxy."""
    wait_until_ready(ADDRESS, seconds=30)
    accounts = json.loads(web.execute("deepseek-plane", "create_first_accounts", "--json").stdout)
    scopes = "read,data:write,jobs:write"
    made = web.execute("deepseek-plane", "create_token", "engineer", "--project", "demo", "--scopes", scopes)
    plane = PlaneClient(ADDRESS, made.stdout.strip(), "demo")
    job = plane.wait(plane.post("/jobs", JOB)["id"], seconds=60)
    page, plain = answer_of(f"{ADDRESS}/accounts/login/"), answer_of(f"http://{HOST}:8080/jobs?a=b")
    events = plane.get(f"/jobs/{job['id']}/log")["items"]
    return {
        "accounts": sorted(accounts),
        "job": {key: job[key] for key in ("state", "node")},
        "login": {"status": page[0], "headers": page[1]},
        "plain": {"status": plain[0], "location": plain[1].get("location")},
        "foreign_host": answer_of(f"{ADDRESS}/accounts/login/", "-H", "Host: evil.example")[0],
        "static": answer_of(f"{ADDRESS}/static/css/tokens.css")[0],
        "metrics": answer_of(f"{ADDRESS}/metrics")[0],
        "log": [line["text"] for line in events],
    }


def main(wheel: Path, work: Path) -> dict[str, Any]:
    image = Image(work, wheel)
    lay_network(image.root)
    secrets = work / "secrets"
    subprocess.run([ROOT / "deploy/make-secrets.sh", "--self-signed", HOST, secrets], check=True, capture_output=True)
    os.environ["SSL_CERT_FILE"] = str(secrets / "tls.crt")
    found = {name: spec for name, spec in services(PLANE_HOST=HOST).items() if not spec.get("profiles")}
    up = {name: Container(image, name, found[name], secrets) for name in in_order(found)}
    report: dict[str, Any] = {"refused": refused_without_secrets(image, found["web"]), "healthy": []}
    initialise(up["database"])
    try:
        for name, container in up.items():
            if name in ONLY_ONCE:
                report["prepare"] = container.run(*container.command()).stdout.strip()
                continue
            container.start()
            container.wait_until_healthy()
            report["healthy"].append(name)
        report["use"] = use(up["web"])
        checked = up["web"].execute("deepseek-plane", "check", "--deploy", "--fail-level", "INFO")
        report["check"] = {"status": checked.returncode, "said": (checked.stdout + checked.stderr).strip()}
    finally:
        report["stopped"] = {name: c.stop() for name, c in reversed(up.items()) if c.process}
        report["logs"] = {name: container.said() for name, container in up.items()}
    return report


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
