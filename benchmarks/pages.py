"""What every page costs on a plane with a past, and on one with ten times as much of it.

    make demo && python benchmarks/seed.py                       in one PLANE_HOME, and with --times 10 in another
    python benchmarks/pages.py HOME [HOME10] [--rounds 15] [--all]

A place is a home of a seeded plane, or HOME@postgres://... for one whose rows are in PostgreSQL. Each is asked in a
process of its own by Django's test client: every address of the URL resolver that answers a GET (tests/walking.py
names those left out), with the objects of the demo, as the first of the first accounts that may see it. Prints queries
and the median time for each, and the ratio of the second place to the first. `--all` adds the API to the pages.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

QUERIES, MILLISECONDS = 20, 150  # what a page may cost
EVALUATED = ("/baselines", "/evaluations", "/gates")  # pages of what was measured over many versions
FEW = 3  # times slower, or this many ms more: said


def seeded() -> Any:
    """The demo's objects, by which addresses are made."""
    from apps.approvals.models import Approval
    from apps.datasets.models import DatasetVersion
    from apps.experiments.models import Run
    from apps.jobs.models import Job
    from apps.nodes.models import Node
    from apps.registry.models import Evaluation, ModelVersion, Variant
    from tests.walking import Seeded

    version = DatasetVersion.objects.filter(dataset__name="wti-clean", number=1).select_related("dataset").get()
    runs = [run.pk for run in Run.objects.filter(job__pipeline_step__pipeline__in=(1, 2), kind="train").order_by("job")]
    model = ModelVersion.objects.select_related("model").get(model__name="wti-forecaster", number=1)
    return Seeded(
        rows=0,
        job=Job.objects.filter(kind="train").order_by("pk")[0].pk,
        version=version.pk,
        digest=Variant.objects.filter(version=model)[0].artifact_id,
        approval=Approval.objects.order_by("pk")[0].pk,
        model_version=model.pk,
        variant=Variant.objects.filter(version=model)[0].pk,
        pipeline=1,
        run=runs[0],
        other_run=runs[1],
        node=Node.objects.order_by("pk")[0].name,
        dataset="wti-clean",
        model="wti-forecaster",
        evaluation=getattr(Evaluation.objects.order_by("pk").first(), "pk", 0),
        evaluation_set="wti-golden",
    )


def busiest(plane: Any) -> Any:
    """The same with the model of which most was evaluated on that set, in place of the demo's one version."""
    from django.db.models import Count

    from apps.registry.models import Evaluation

    rows = Evaluation.objects.filter(set__name=plane.evaluation_set).values_list("variant__version__model__name")
    found = rows.annotate(n=Count("pk")).order_by("-n").first()
    return dataclasses.replace(plane, model=found[0]) if found else plane


def measure(rounds: int, everything: bool) -> dict[str, list[float]]:
    """Route -> [queries, median ms, bytes], in this process."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from tests import walking

    call_command("migrate", verbosity=0)  # a seeded home may be older than the code
    plane, people = seeded(), walking.visitors()
    # SQLite runs in this process, so its CPU time is all of it, and other work on the machine does not count.
    clock = time.process_time if connection.vendor == "sqlite" else time.perf_counter
    costs = {}
    for route in walking.routes():
        if walking.left_out(route) or (not everything and route.startswith("api/")):
            continue
        where = walking.address(route, plane if not any(part in route for part in EVALUATED) else busiest(plane))
        visitor, status = walking.who_may(where, people)
        if visitor is None or status != 200:
            continue
        with CaptureQueriesContext(connection) as seen:
            size = len(visitor.get(where)[1])
        queries, took = len(seen), []  # now: the next request empties the log
        for _ in range(rounds):
            start = clock()
            visitor.get(where)
            took.append((clock() - start) * 1e3)
        costs[route] = [queries, statistics.median(took), size]
    return costs


def measured_in(place: str, asked: argparse.Namespace) -> dict[str, list[float]]:
    home, _, url = place.partition("@")
    environment = os.environ | {"PLANE_HOME": home, "LOG_LEVEL": "ERROR"}
    environment |= {"DATABASE_URL": url} if url else {}
    command = [sys.executable, __file__, "--here", f"--rounds={asked.rounds}", *(["--all"] if asked.all else [])]
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(answer.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", help="homes of seeded planes: one, or one and its tenfold")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--all", action="store_true", help="the API too")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        print(json.dumps(measure(asked.rounds, asked.all)))
        return
    found = [measured_in(place, asked) for place in asked.places]
    first, last = found[0], found[-1]
    print(f"{'page':62} {'queries':>9} {'ms':>8} {'tenfold':>9} {'ratio':>6} {'kB':>6}")
    bad = []
    for route, (queries, median, size) in first.items():
        more_queries, more, _size = last.get(route, [0, 0, 0])
        marks = [f"{queries:.0f} queries"] if max(queries, more_queries) >= QUERIES else []
        marks += [f"{max(median, more):.0f} ms"] if max(median, more) > MILLISECONDS else []
        marks += ["queries grow"] if more_queries != queries else []
        marks += ["time grows"] if more > 1.5 * median and more - median > FEW else []
        counted = f"{queries:.0f}" if more_queries == queries else f"{queries:.0f}/{more_queries:.0f}"
        ratio = more / median if median else 0
        print(f"{route:62} {counted:>9} {median:8.1f} {more:9.1f} {ratio:6.2f} {size / 1e3:6.0f}  {', '.join(marks)}")
        bad += [f"{route}: {', '.join(marks)}"] if marks else []
    print(f"\n{len(first)} pages; beyond {QUERIES} queries, {MILLISECONDS} ms or growing: {len(bad)}")
    print("\n".join(bad))


if __name__ == "__main__":
    main()
