"""A fleet of 100,000 devices: idle polls a second, pages of the list, the rate of a download.

    python benchmarks/fleet.py [--devices 100000] [--seconds 5] [--rounds 2] [--megabytes 200] [--only polls,lists]
    python benchmarks/fleet.py --quick

Starts a PostgreSQL and gunicorns as the plane runs them (2 processes of 64 threads) for itself, and deletes all of it
at the end. Polls: every request has the token of another device, and its answer is 304. Beside them, alternating: the
same poll through Django's middleware, `/healthz`, and an application that does nothing, under the same gunicorn.
Processor time is that of the web processes and of PostgreSQL, with what is written of the polls; it is worth something
on a busy machine too, unlike rates. Lists: by REST and as pages, with the filters that are offered; a plan is printed
where one takes more of the processor than the aim. Download: a device's file, whole, beside `cp` and a server that only
calls sendfile. `--only`: polls, lists, files. The agent's memory is measured by benchmarks/agent_memory.py.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fleet_files import measure_files
from benchmarks.fleet_load import Load, Plan, add_processor, drive
from benchmarks.seed_fleet import build_token, is_revoked
from tests.faults.console import Console
from tests.faults.services import Postgres, until
from tests.ports import find_free_port

ROOT = Path(__file__).resolve().parents[1]
POLLS_AIM, LIST_AIM_MS = 3_000, 150
FLEET, POLL_SECONDS = 100_000, 300
CONNECTIONS = 24
PACED = f"{FLEET:,} devices that poll every {POLL_SECONDS} s on new connections"
TRIES_OF_A_LIST = 15
PATIENCE = 120
API = "/api/v1/projects/demo/devices"
# Of the page, as it reads them; by REST the newest come first.
ORDERS = {
    "name": ("name", "id"),
    "-name": ("-name", "-id"),
    "seen": ("telemetry__last_seen", "id"),
    "-seen": ("-telemetry__last_seen", "-id"),
    "enrolled": ("id",),
}

SEED = """
import json
from datetime import timedelta
from django.utils import timezone
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("createcachetable", verbosity=0)
from apps.core.canonical import sha256_hex
from apps.platform.accounts.models import ApiToken, Project, User
from benchmarks.seed_fleet import seed_devices
from tests import walking
walking.first_rows()
ApiToken.objects.create(project=Project.objects.get(slug="demo"), user=User.objects.get(username="engineer"),
    name="fleet", prefix="dso_", digest=sha256_hex("TOKEN"), expires_at=timezone.now() + timedelta(days=1),
    scopes=["read", "data:write"])
people = {person.name: person.client.cookies["sessionid"].value for person in walking.visitors()}
print(json.dumps({**seed_devices(DEVICES), "session": people["engineer"]}))
"""
EXPLAIN = """
from apps.fleet.devices.queries import list_devices
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import Project, User
actor = build_actor_for_user(User.objects.get(username="engineer"))
rows = list_devices(actor, Project.objects.get(slug="demo"), FILTERS)
print(rows.order_by(*ORDER)[:51].explain(analyze=True, buffers=True))
"""


# -- servers --------------------------------------------------------------------------------------------------------
@dataclass
class Server:
    """A gunicorn of the plane's configuration, and the database that it asks."""

    port: int
    process: psutil.Process
    database: psutil.Process

    def measure_processor(self) -> tuple[float, float]:
        """Seconds of the web processes and of PostgreSQL until now."""
        return add_processor(self.process), add_processor(self.database)


@contextmanager
def start_server(application: str, environment: dict[str, str], database: psutil.Process) -> Iterator[Server]:
    port = find_free_port()
    command = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-c", "python:controlplane.gunicorn_conf"]
    log = Path(environment["PLANE_HOME"]) / f"{application.replace(':', '-')}.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [*command, "-b", f"127.0.0.1:{port}", application],
            cwd=ROOT,
            env=environment,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        until(lambda: is_listening(port, process, log), seconds=PATIENCE, what=log.read_text())
        yield Server(port, psutil.Process(process.pid), database)
    finally:
        process.terminate()
        process.wait(30)


def is_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# -- polls ----------------------------------------------------------------------------------------------------------
@dataclass
class Phase:
    """One way to be asked, and what came of its rounds."""

    name: str
    server: Server
    requests: list[bytes]
    status: bytes = b"304"
    fresh: bool = False
    rate: float = 0
    rounds: list[tuple[Load, float, float]] = field(default_factory=list)

    def run(self, seconds: float, keep: bool = True) -> None:
        web, database = self.server.measure_processor()
        plan = Plan(CONNECTIONS, seconds, self.status, self.fresh, self.rate)
        load = drive(self.server.port, self.requests, plan)
        later = self.server.measure_processor()
        if load.failed or load.lost > 4 * CONNECTIONS:
            raise SystemExit(f"{self.name}: of {len(load.taken)} {load.failed} failed, {load.lost} were cut off")
        if keep:
            self.rounds.append((load, later[0] - web, later[1] - database))

    def compute_medians(self) -> dict[str, float]:
        figures = [
            {
                "rate": len(load.taken) / load.seconds,
                "p50": statistics.median(load.taken) * 1e3,
                "p99": sorted(load.taken)[int(0.99 * len(load.taken))] * 1e3,
                "web": web / len(load.taken) * 1e6,
                "database": database / len(load.taken) * 1e6,
                "client": load.processor / len(load.taken) * 1e6,
            }
            for load, web, database in self.rounds
        ]
        return {name: statistics.median(one[name] for one in figures) for name in figures[0]}


def build_poll(number: int, etag: str = "") -> bytes:
    known = f"If-None-Match: {etag}\r\n" if etag else ""
    head = f"GET /api/v1/agent/poll HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {build_token(number)}\r\n"
    return f"{head}User-Agent: deepseek-agent\r\n{known}\r\n".encode()


def read_etag(server: Server, number: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", "/api/v1/agent/poll", headers={"Authorization": f"Bearer {build_token(number)}"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    return str(answer.headers["ETag"])


def measure_polls(servers: dict[str, Server], first: int, devices: int, seconds: float, rounds: int) -> None:
    plane, nothing = servers["plane"], servers["nothing"]
    own, _, same = read_etag(plane, 1).strip('"').partition("-")
    assert int(own) == first, "the ETag begins with the device"
    numbers = [number for number in range(1, devices + 1) if not is_revoked(number)]
    polls = [build_poll(number, f'"{first + number - 1}-{same}"') for number in numbers]
    healthz = [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    phases = [
        Phase("idle poll", plane, polls),
        Phase("idle poll, each on a new connection", plane, polls[::-1], fresh=True),
        Phase(PACED, plane, polls[1::2], rate=FLEET / POLL_SECONDS),
        Phase("the same through the middleware", servers["django"], polls),
        Phase("/healthz", plane, healthz, b"200"),
        Phase("an application that does nothing", nothing, polls),
        Phase("the same, each on a new connection", nothing, polls, fresh=True),
        Phase(
            f"the same, {FLEET // POLL_SECONDS} a second on new connections", nothing, polls, rate=FLEET / POLL_SECONDS
        ),
    ]
    for phase in phases:
        phase.run(min(seconds, 1.0), keep=False)
    for turn in range(rounds):
        for phase in phases if turn % 2 == 0 else phases[::-1]:
            phase.run(seconds)
    print(f"\nPolls: {rounds} rounds of {seconds:g} s, {CONNECTIONS} connections, {devices} devices, medians.\n")
    print("| request | a second | of nothing | p50, ms | p99 | web, us of processor | PostgreSQL, us | client, us |")
    print("|---|---|---|---|---|---|---|---|")
    base = next(phase for phase in phases if phase.server == nothing).compute_medians()["rate"]
    for phase in phases:
        found = phase.compute_medians()
        print(
            f"| {phase.name} | {found['rate']:,.0f} | {found['rate'] / base:.2f} | {found['p50']:.1f} |"
            f" {found['p99']:.1f} | {found['web']:.0f} | {found['database']:.0f} | {found['client']:.0f} |"
        )
    found, paced = phases[0].compute_medians(), phases[2].compute_medians()
    cost = found["web"] + found["database"]
    print(f"\nTwo cores that did nothing else would answer {2e6 / cost:,.0f} polls a second (aim {POLLS_AIM:,}).")
    shares = [(one["web"] + one["database"]) * one["rate"] / 1e6 for one in (paced, phases[-1].compute_medians())]
    print(f"{PACED}: {shares[0]:.0%} of a core; of an application that does nothing {shares[1]:.0%}.")


# -- lists ----------------------------------------------------------------------------------------------------------
def build_filters(facts: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What the list is asked for: {a name: its parameters}."""
    return {
        "all": {},
        "state=quarantined": {"state": "quarantined"},
        "state=active": {"state": "active"},
        "architecture=aarch64": {"architecture": "aarch64"},
        "kind=hawkbit (none)": {"kind": "hawkbit"},
        "health=failing": {"health": "failing"},
        "seen=online": {"seen": "online"},
        "seen=offline": {"seen": "offline"},
        "seen=never": {"seen": "never"},
        "running": {"running": str(facts["release"])},
        "mismatch": {"mismatch": "true"},
        "name, one fits": {"name": facts["name"]},
        "name, none fits": {"name": "no such device"},
        "group of a tag, an attribute and a state": {"group": "site-7"},
        "query: a tag, 1 of 1,000": {"query": "tag.line = 'line-77'"},
        "query: no such tag": {"query": "tag.site IS NULL"},
        "query: a version": {"query": "agent_version = '1.3'"},
        "state and health": {"state": "active", "health": "failing"},
        **{f"by {order}": {"sort": order} for order in ORDERS},
        **{f"health=failing, by {order}": {"health": "failing", "sort": order} for order in ORDERS},
        **{f"of the group, by {order}": {"group": "site-7", "sort": order} for order in ORDERS},
    }


def measure_lists(server: Server, console: Console, facts: dict[str, Any], token: str, tries: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    ways = {"REST": (API, {"Authorization": f"Bearer {token}"})}
    page = console.run(
        "from django.urls import NoReverseMatch, reverse\n"
        "try: print(reverse('devices:list', args=['demo']), end='')\nexcept NoReverseMatch: pass"
    )
    if page:
        ways["page"] = (page, {"Cookie": f"sessionid={facts['session']}", "Accept": "text/html"})
    print(f"\nLists: {tries} times each, ms.\n")
    print("| list | by | p50 | p95 | web, ms of processor | PostgreSQL, ms |\n|---|---|---|---|---|---|")
    slow = []
    for name, filters in build_filters(facts).items():
        for way, (path, headers) in ways.items():
            if way == "REST" and "sort" in filters:
                continue
            target = f"{path}?{urlencode(filters)}"
            for _ in range(2):
                read_page(connection, target, headers)
            web, database = server.measure_processor()
            taken = sorted(read_page(connection, target, headers) for _ in range(tries))
            later = server.measure_processor()
            p50, p95 = taken[tries // 2], taken[int(tries * 0.95)]
            spent = [(now - then) / tries * 1e3 for now, then in zip(later, (web, database), strict=True)]
            print(f"| {name} | {way} | {p50:.0f} | {p95:.0f} | {spent[0]:.0f} | {spent[1]:.0f} |")
            if sum(spent) > LIST_AIM_MS and filters not in slow:
                slow.append(filters)
    for filters in slow:
        order = ORDERS.get(filters.get("sort", ""), ("-id",))
        plan = console.run(EXPLAIN.replace("FILTERS", repr(filters)).replace("ORDER", repr(order)))
        print(f"\nMore than {LIST_AIM_MS} ms of processor: {filters}\n{plan}")


def read_page(connection: http.client.HTTPConnection, target: str, headers: dict[str, str]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    connection.request("GET", target, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, (target, answer.status, content[:300])
    return (time.perf_counter() - began) * 1e3


# -- all of it ------------------------------------------------------------------------------------------------------
def prepare(environment: dict[str, str], devices: int) -> tuple[Console, dict[str, Any], str]:
    """A plane with a fleet; a token of an engineer's."""
    token = "dso_" + secrets.token_urlsafe(24)
    console, began = Console(environment), time.perf_counter()
    facts = json.loads(console.run(SEED.replace("DEVICES", str(devices)).replace("TOKEN", token)))
    print(f"{devices:,} devices written in {time.perf_counter() - began:.0f} s; load average {os.getloadavg()[0]:.1f}")
    return console, facts, token


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=FLEET)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--only", default="polls,lists,files")
    parser.add_argument("--quick", action="store_true", help="2,000 devices, 2 s, 20 MB: whether it works")
    asked = parser.parse_args()
    if asked.quick:
        asked.devices, asked.seconds, asked.rounds, asked.megabytes = 2_000, 2, 1, 20
    parts, tries = asked.only.split(","), 5 if asked.quick else TRIES_OF_A_LIST
    with ExitStack() as stack:
        home = tempfile.mkdtemp(prefix="bench-fleet-")
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        postgres = Postgres()
        stack.callback(postgres.remove)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "OPENBLAS_CORETYPE") if name in os.environ}
        os.environ["PLANE_HOME"] = home
        environment = kept | {"HOME": home, "PLANE_HOME": home, "DATABASE_URL": postgres.url("postgres")}
        console, facts, token = prepare(environment, asked.devices)
        stack.callback(console.close)
        database = psutil.Process(postgres.process.pid)
        applications = {"plane": "controlplane.wsgi:application"}
        if "polls" in parts:
            applications |= {"django": "controlplane.wsgi:django", "nothing": "benchmarks.fleet_idle:application"}
        servers = {
            name: stack.enter_context(start_server(application, environment, database))
            for name, application in applications.items()
        }
        if "polls" in parts:
            measure_polls(servers, facts["first"], asked.devices, asked.seconds, asked.rounds)
        if "lists" in parts:
            measure_lists(servers["plane"], console, facts, token, tries)
        if "files" in parts:
            measure_files(servers["plane"], console, facts, token, asked.megabytes << 20, 3 if asked.quick else 5)
        print(f"\nload average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
