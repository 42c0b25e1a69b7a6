"""The graph around an object of a project of a million edges, both directions, to depth 10; a naive walk beside it.

`python benchmarks/lineage.py [--edges 1000000] [--rounds 60]` with the DATABASE_URL of an empty database, migrated here
(SQLite in PLANE_HOME without one). The shape is a plane's of years: each job takes a version or two and makes one
(chains), popular versions go into hundreds of jobs (fans), a few into tens of thousands (hubs). The peer is a recursive
query as one would write it first, for the same edges: UNION over both ends, no bound on what a node gives.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from apps.core.actors import PlaneRole, build_plane_actor  # noqa: E402
from apps.platform.accounts.models import Membership, Project, User  # noqa: E402
from apps.platform.lineage.models import Edge  # noqa: E402
from apps.platform.lineage.queries import MAX_NODES, fetch_graph  # noqa: E402

WORKER = build_plane_actor(PlaneRole.WORKER, host="bench")
DEPTH = 10
PATIENCE_MS = 20_000  # of one naive walk
HUBS = 5

NAIVE = """
WITH RECURSIVE down(type, id, level) AS (
    SELECT CAST(%s AS varchar(40)), CAST(%s AS varchar(80)), 0 UNION
    SELECT e.target_type, e.target_id, down.level + 1 FROM down JOIN lineage_edge e
    ON e.project_id = %s AND e.source_type = down.type AND e.source_id = down.id WHERE down.level < %s
), up(type, id, level) AS (
    SELECT CAST(%s AS varchar(40)), CAST(%s AS varchar(80)), 0 UNION
    SELECT e.source_type, e.source_id, up.level + 1 FROM up JOIN lineage_edge e
    ON e.project_id = %s AND e.target_type = up.type AND e.target_id = up.id WHERE up.level < %s
) SELECT e.* FROM lineage_edge e JOIN down ON e.project_id = %s AND e.source_type = down.type AND e.source_id = down.id
WHERE down.level < %s
UNION SELECT e.* FROM lineage_edge e JOIN up ON e.project_id = %s AND e.target_type = up.type AND e.target_id = up.id
WHERE up.level < %s"""


def edges_of(project: Project, wanted: int):
    """Edges of jobs in the order of time: what went in, what came out."""
    draw = random.Random(5)
    made = version = job = 0
    while made < wanted:
        job += 1
        if version < HUBS + 1 or draw.random() < 0.1:
            sources = [version] if version else []
        elif draw.random() < 0.12:
            sources = [draw.randrange(1, HUBS + 1)]  # a hub
        elif draw.random() < 0.25:
            sources = [draw.randrange(1, max(2, version // 500)) + HUBS]  # a popular one
        else:
            sources = [max(1, version - int(draw.expovariate(1 / 20)))]  # the work of the day: chains
        if draw.random() < 0.2 and version > 10:
            sources.append(draw.randrange(max(1, version - 1000), version + 1))
        version += 1
        for source in dict.fromkeys(sources):
            if source:
                made += 1
                yield edge(project, "dataset_version", source, "job", job)
        made += 1
        yield edge(project, "job", job, "dataset_version", version)


def edge(project: Project, kind: str, source: int, other: str, target: int) -> Edge:
    digest = f"{source:064x}" if kind != "job" else ""
    return Edge(
        project=project,
        source_type=kind,
        source_id=str(source),
        source_digest=digest,
        source_label=f"{kind} {source}",
        target_type=other,
        target_id=str(target),
        target_digest=f"{target:064x}" if other != "job" else "",
        target_label=f"{other} {target}",
        role="table",
    )


def fill(project: Project, wanted: int) -> None:
    batch = []
    for one in edges_of(project, wanted):
        batch.append(one)
        if len(batch) == 5000:
            Edge.objects.bulk_create(batch)
            batch = []
    Edge.objects.bulk_create(batch)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE lineage_edge")


def roots(rounds: int) -> dict[str, list[str]]:
    """Versions to ask about: of any age, popular ones, hubs."""
    draw = random.Random(9)
    last = Edge.objects.filter(target_type="dataset_version").order_by("-id").values_list("target_id", flat=True)[0]
    return {
        "any version": [str(draw.randrange(1, int(last))) for _ in range(rounds)],
        "popular version": [str(draw.randrange(HUBS + 1, int(last) // 500)) for _ in range(rounds)],
        "hub": [str(1 + n % HUBS) for n in range(rounds)],
    }


def timed(call, asked: list[str]) -> list[float]:
    """Milliseconds of each call, after three to warm up."""
    for one in asked[:3]:
        call(one)
    found = []
    for one in asked:
        begin = time.perf_counter()
        call(one)
        found.append((time.perf_counter() - begin) * 1000)
    return sorted(found)


def naive(project: Project):
    def call(version: str) -> None:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(f"SET statement_timeout = {PATIENCE_MS}")
            try:
                cursor.execute(NAIVE, ["dataset_version", version, project.pk, DEPTH] * 2 + [project.pk, DEPTH] * 2)
                cursor.fetchall()
            except django.db.OperationalError:
                pass  # counted as PATIENCE_MS
            finally:
                if connection.vendor == "postgresql":
                    cursor.execute("SET statement_timeout = 0")

    return call


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--edges", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=60)
    options.add_argument("--limit", type=int, default=MAX_NODES)
    options.add_argument("--no-peer", action="store_true")
    asked = options.parse_args()
    call_command("migrate", verbosity=0)
    project = Project.objects.get_or_create(slug="bench", defaults={"name": "Bench"})[0]
    if not Edge.objects.filter(project=project).exists():
        fill(project, asked.edges)
    count = Edge.objects.filter(project=project).count()
    print(f"{connection.vendor}, {count:,} edges, depth {DEPTH}, both directions, at most {asked.limit} nodes\n")
    print("| around | nodes | best, ms | p50, ms | p95, ms | naive best, ms | naive p50, ms | ratio of p50 |")
    print("|---|---|---|---|---|---|---|---|")
    peer = naive(project)
    for name, versions in roots(asked.rounds).items():
        nodes = []

        def ours(version: str, nodes: list[int] = nodes) -> None:
            found = fetch_graph(
                WORKER, project, "dataset_version", version, direction="both", depth=DEPTH, limit=asked.limit
            )
            nodes.append(len(found.nodes))

        mine = timed(ours, versions)
        row = f"| {name} | {statistics.median(nodes):,.0f} | {mine[0]:.1f} | {mid(mine):.1f} | {late(mine):.1f} |"
        if not asked.no_peer:
            theirs = timed(peer, versions[: max(3, asked.rounds // 10)])
            row += f" {theirs[0]:,.1f} | {mid(theirs):,.1f} | {mid(theirs) / mid(mine):.1f} |"
        print(row, flush=True)
    pages(project, roots(asked.rounds)["popular version"])


def pages(project: Project, versions: list[str]) -> None:
    """The page that draws the graph: processor time of the web process alone, by a client in it."""
    user = User.objects.get_or_create(username="bench", defaults={"must_change_password": False})[0]
    Membership.objects.get_or_create(project=project, user=user, role="engineer")
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    times, boxes = [], []
    for version in versions:
        begin = time.process_time()
        text = client.get(f"/p/bench/lineage/dataset_version/{version}").content
        times.append((time.process_time() - begin) * 1000)
        boxes.append(text.count(b'<g class="node'))
    times.sort()
    print(f"\nPage of a graph of {MAX_NODES} nodes: {statistics.median(boxes):.0f} boxes drawn; processor time of the")
    print(f"web process: p50 {mid(times):.0f} ms, p95 {late(times):.0f} ms")


def mid(times: list[float]) -> float:
    return statistics.median(times)


def late(times: list[float]) -> float:
    return times[min(len(times) - 1, int(len(times) * 0.95))]


if __name__ == "__main__":
    main()
