"""What every page costs on a plane with a past, and on one with ten times as much of it.

    make demo && python benchmarks/seed.py                       in one PLANE_HOME, and with --times 10 in another
    python benchmarks/pages.py HOME [HOME10] [--rounds 15] [--all]

A place is a home of a seeded plane, or HOME@postgres://... for one whose rows are in PostgreSQL. Each is asked in a
process of its own by Django's test client: every address of the URL resolver that answers a GET (tests/walking.py
names those left out), with the objects of the demo, as the first of the first accounts that may see it. Prints queries
and the median time for each, and the ratio of the second place to the first. `--all` adds the API to the pages.
On a machine that others use, `--cpu` counts processor time, PostgreSQL's of its connections included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

QUERIES, MILLISECONDS = 20, 150  # what a page may cost
# What pages show only where they are asked for it, {names} of the plane in place of its own; {many}: 16 runs.
RUNS, MODEL = "/p/demo/runs", "/p/demo/models/{model}"
ASKED = (
    f"{RUNS}?filter=metrics.loss < 100 AND tags.team = 'plant'",
    f"{RUNS}?filter=params.seed = '1' AND metrics.\"test/rmse\" > 1",
    f"{RUNS}?filter=tags.stage LIKE '%25and%25' AND attributes.status != 'FAILED'",
    f"{RUNS}?name=weld",
    f"{RUNS}?sort=metrics.test/rmse",
    f"{RUNS}?deleted=only",
    f"{RUNS}?columns=run&columns=tags&columns=metrics.test/rmse&columns=params.seed",
    f"{RUNS}?group=experiment",
    f"{RUNS}?group=params.seed&measure=test/rmse",
    f"{RUNS}?group=tags.team&measure=test/rmse&open=%3Dplant&open=%3Dward",
    f'{RUNS}?group=tags.team&filter=metrics."test/rmse" > 1',
    f"{RUNS}/complete?filter=metrics.te&at=10",
    f"{RUNS}/compare?{{many}}",
    f"{RUNS}/compare?{{many}}&axis=seed&axis=dropout&axis=test/rmse&min:test/rmse=1",
    f"{RUNS}/compare?{{many}}&sx=seed&sy=test/rmse&sc=dropout",
    f"{RUNS}/{{run}}/metrics?smooth=0.6&x=time",
    "/p/demo/jobs?state=failed",
    "/p/demo/jobs?sort=state",
    f"{MODEL}/baselines?set=holdout-0000-r1&metric=mae",
    f"{MODEL}/{{measured}}",
    f"{MODEL}/{{measured}}/evaluations",
    f"{MODEL}/{{measured}}/compare",
    f"{MODEL}/{{measured}}/variants",
    "/p/demo/holds?state=all",
    "/p/demo/lineage/foreign_job/{foreign}",
    "/p/demo/lineage/dataset_version/{version}?depth=25",
    "/p/demo/lineage/dataset_version/{version}?list={listed}",
    "/p/demo/jobs/{job}/lineage?find=train",
    "/garbage?look=long",
    "/search?q=wti",
    "/search?q=weld",
    "/audit?action=job.running",
    "/p/demo/data/{dataset}?sort=-size",
    "/p/demo/pipelines?state=failed",
    "/api/v1/projects/demo/models/{model}/versions/{measured}/card.md",
    "/api/v1/projects/demo/models/{model}/versions/{measured}/card.html",
    "/api/v1/projects/demo/runs/purgeable",
)
FEW = 3  # times slower, or this many ms more: said


def seeded() -> Any:
    """The demo's objects, by which addresses are made."""
    from apps.data.datasets.models import DatasetVersion
    from apps.ml.experiments.models import Run
    from apps.ml.registry.models import Evaluation, ModelVersion, Variant
    from apps.ml.reruns.models import Rerun
    from apps.platform.approvals.models import Approval
    from apps.platform.holds.models import Hold
    from apps.platform.jobs.models import Job
    from apps.platform.nodes.models import Node
    from apps.platform.preferences.models import SavedView
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
        evaluation=first_of(Evaluation),
        rerun=first_of(Rerun),
        hold=first_of(Hold),
        view=first_of(SavedView),
    )


def first_of(kind: Any) -> int:
    """The first row; 0 on a plane that has none, and the page that asks for it is left out and said so."""
    return kind.objects.order_by("pk").values_list("pk", flat=True).first() or 0


def names_of(plane: Any) -> dict[str, Any]:
    """What stands in ASKED."""
    from apps.core.lists.pages import FORWARD, encode_cursor
    from apps.gateways.openlineage.models import ForeignEnd
    from apps.ml.experiments.models import LoggedModel, Run
    from apps.ml.registry.models import ModelVersion

    versions = ModelVersion.objects.filter(model__name=plane.model).order_by("-number")
    runs = Run.objects.filter(project__slug="demo", kind="train", state="finished", deleted_at=None)
    alike = runs.filter(model_versions=None, metrics__key="test/rmse").order_by("-started_at")[:16]
    return {
        **{name: getattr(plane, name) for name in ("run", "job", "version", "model", "dataset")},
        "many": "&".join(f"ids={run.pk}" for run in alike),
        "listed": encode_cursor([FORWARD, "lineage", "", 500]),
        "measured": versions.values_list("number", flat=True).first(),
        "logged": LoggedModel.objects.order_by("created_at", "pk").values_list("pk", flat=True).first(),
        "foreign": ForeignEnd.objects.filter(type="foreign_job").order_by("pk").values_list("key", flat=True).first(),
    }


def asked_of(plane: Any, everything: bool) -> Iterator[tuple[str, str]]:
    """(what it is called, address) of all that is measured."""
    from tests import walking

    names = names_of(plane)
    for route in walking.routes():
        if not walking.left_out(route) and (everything or not route.startswith("api/")):
            where = walking.address(route, plane).replace("?from=s0", "?from=clean")  # a step of the demo's pipeline
            yield route, where.replace(walking.MODEL_ID, names["logged"] or walking.MODEL_ID)
    for asked in ASKED:
        yield asked.lstrip("/"), asked.format(**names)


def measure(rounds: int, everything: bool, cpu: bool) -> dict[str, list[float]]:
    """Route -> [queries, median ms, bytes], in this process."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from apps.platform.accounts.models import User
    from tests import walking

    call_command("migrate", verbosity=0)  # a seeded home may be older than the code
    User.objects.update(must_change_password=False)  # the demo's accounts are sent to that page first
    plane, people = seeded(), walking.visitors()
    # SQLite runs in this process, so its CPU time is all of it, and other work on the machine does not count.
    clock = time.process_time if connection.vendor == "sqlite" else processors if cpu else time.perf_counter
    costs = {}
    for route, where in asked_of(plane, everything):
        visitor, status = walking.who_may(where, people)
        if visitor is None or status != 200:
            if status not in (302, 405):
                print(f"{status} {where}", file=sys.stderr)
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


def processors() -> float:
    """Seconds on a processor so far: of this process and, on the same machine, of the servers of its database."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        told = [Path(f"/proc/{pid}/schedstat") for (pid,) in cursor.fetchall()]
    return time.process_time() + sum(int(one.read_text().split()[0]) for one in told if one.exists()) / 1e9


def measured_in(place: str, asked: argparse.Namespace) -> dict[str, list[float]]:
    home, _, url = place.partition("@")
    environment = os.environ | {"PLANE_HOME": home, "LOG_LEVEL": "ERROR", "SECOND_FACTOR_ROLES": ""}
    environment |= {"DATABASE_URL": url} if url else {}
    command = [sys.executable, __file__, "--here", f"--rounds={asked.rounds}", *(["--all"] if asked.all else [])]
    command += ["--cpu"] if asked.cpu else []
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(answer.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", help="homes of seeded planes: one, or one and its tenfold")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--all", action="store_true", help="the API too")
    parser.add_argument("--cpu", action="store_true", help="of PostgreSQL processor time, where others use the machine")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        print(json.dumps(measure(asked.rounds, asked.all, asked.cpu)))
        return
    found = [measured_in(place, asked) for place in asked.places]
    first, last = found[0], found[-1]
    print(f"{'page':62} {'queries':>9} {'ms':>8} {'tenfold':>9} {'ratio':>6} {'kB':>6}")
    bad = []
    for route, (queries, median, size) in first.items():
        more_queries, more, _size = last.get(route, [0, 0, 0])
        marks = [f"{queries:.0f} queries"] if max(queries, more_queries) >= QUERIES else []
        marks += [f"{max(median, more):.0f} ms"] if max(median, more) > MILLISECONDS else []
        marks += ["queries grow"] if more_queries > queries else []
        marks += ["time grows"] if more > 1.5 * median and more - median > FEW else []
        counted = f"{queries:.0f}" if more_queries == queries else f"{queries:.0f}/{more_queries:.0f}"
        ratio = more / median if median else 0
        print(f"{route:62} {counted:>9} {median:8.1f} {more:9.1f} {ratio:6.2f} {size / 1e3:6.0f}  {', '.join(marks)}")
        bad += [f"{route}: {', '.join(marks)}"] if marks else []
    print(f"\n{len(first)} pages; beyond {QUERIES} queries, {MILLISECONDS} ms or growing: {len(bad)}")
    print("\n".join(bad))


if __name__ == "__main__":
    main()
