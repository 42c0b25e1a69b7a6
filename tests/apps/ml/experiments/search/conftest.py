"""Runs as cases.py describes them, kept in this plane's tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apps.ml.experiments.models import Experiment, Metric, Run, RunDataset, RunParam, RunTag
from apps.ml.experiments.search.runs import RunQuery, search_runs

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(ms: int | None) -> datetime | None:
    return None if ms is None else EPOCH + timedelta(milliseconds=ms)


@pytest.fixture
def actor(engineer, actor_for):
    return actor_for(engineer)


@pytest.fixture
def keep(project):
    """keep(runs) puts them into experiments whose numbers they name."""

    def insert(runs: list[dict], into=project) -> None:
        places: dict[str, Experiment] = {}
        for run in runs:
            number = run["experiment"]
            if number not in places:
                places[number] = Experiment.objects.create(
                    project=into, number=int(number), name=f"e{number}", created_by="t"
                )
            insert_run(run, places[number])

    return insert


def insert_run(run: dict, experiment: Experiment) -> None:
    columns = {"id": run["id"], "project": experiment.project, "experiment": experiment, "created_by": "t"}
    columns |= {"name": run["name"], "client_user": run["user"], "state": run["status"].lower()}
    columns |= {"started_at": at(run["start"]), "ended_at": at(run["end"])}
    kept = Run.objects.create(**columns, deleted_at=EPOCH if run["deleted"] else None)
    owned = {"run": kept, "project": experiment.project, "experiment": experiment, "started_at": kept.started_at}
    point = {"step": 0, "at": EPOCH, "first_step": 0, "count": 1, "digest": ""}
    for key, value in run["metrics"].items():
        nan = value == "NaN"
        Metric.objects.create(**owned, key=key, value=0.0 if nan else value, is_nan=nan, **point)
    RunParam.objects.bulk_create(RunParam(run=kept, key=key, value=value) for key, value in run["params"].items())
    RunTag.objects.bulk_create(RunTag(run=kept, key=key, value=value) for key, value in run["tags"].items())
    RunDataset.objects.bulk_create(RunDataset(run=kept, **one) for one in run["datasets"])


@pytest.fixture
def one():
    """one("a", metrics={...}) -> a run as `keep` takes it, in experiment 1; its id is that letter 32 times."""

    def describe(letter: str, **more) -> dict:
        plain = {"id": letter * 32, "experiment": "1", "name": letter, "user": "", "status": "RUNNING", "start": 1000}
        plain |= {"end": None, "deleted": False, "metrics": {}, "params": {}, "tags": {}, "datasets": []}
        return plain | more

    return describe


@pytest.fixture
def ask(actor, project):
    """ask(filter, order_by=[], ...) -> the ids found, all pages of them, each id by its first letter."""

    def search(text: str = "", *orders: str, experiments=("1",), limit: int = 1000, **more) -> str:
        found, token = [], ""
        while True:
            query = RunQuery(experiments=experiments, filter=text, order_by=orders, limit=limit, token=token, **more)
            page = search_runs(actor, project.pk, query)
            assert len(page.rows) <= limit
            found += [row.id for row in page.rows]
            token = page.token
            if not token:
                return "".join(run[0] for run in found) if more.get("view") != "ids" else found

    return search
