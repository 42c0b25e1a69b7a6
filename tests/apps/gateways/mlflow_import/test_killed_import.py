"""An import that is killed in the middle of a run leaves nothing that looks whole, and the next one goes on."""

from __future__ import annotations

import pytest

from apps.gateways.mlflow_import.file_store import FileStore
from apps.gateways.mlflow_import.services import runs
from apps.ml.experiments.metrics import series
from apps.ml.experiments.metrics.series import Point, compute_run_digest
from apps.ml.experiments.models import Metric, Run
from tests.apps.gateways.mlflow_import.conftest import RUN, points

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def _small(monkeypatch, written):
    monkeypatch.setattr(runs, "POINTS_PER_TRANSACTION", 10)
    written.put(f"7/{RUN}/metrics/train/loss", points([1 / (n + 1) for n in range(95)]))


@pytest.fixture
def killed(take, monkeypatch):
    """killed(after) imports until so many points were read of a long metric."""

    def run(after):
        whole = FileStore.iter_points

        def cut(self, run, key):
            for number, point in enumerate(whole(self, run, key)):
                if number == after:
                    raise KeyboardInterrupt
                yield point

        with monkeypatch.context() as patched:
            patched.setattr(FileStore, "iter_points", cut)
            with pytest.raises(KeyboardInterrupt):
                take()

    return run


@pytest.mark.usefixtures("_small")
def test_a_part_of_a_run_counts_as_deleted_until_it_is_whole(take, killed):
    killed(50)
    part = Run.objects.get(pk=RUN)
    assert part.deleted_at is not None
    assert 0 < Metric.objects.get(run=RUN, key="train/loss").count < 95
    assert part.metrics_digest == ""
    take()
    whole = Run.objects.get(pk=RUN)
    assert (whole.deleted_at, whole.metrics_count) == (None, 95 + 3 + 1)
    assert whole.metrics_digest == compute_run_digest(whole.metrics.all())
    steps = whole.metrics.get(key="train/loss").points.order_by("id").values_list("step", flat=True)
    assert list(steps) == list(range(95))


@pytest.mark.usefixtures("_small")
def test_killed_again_and_again(take, killed):
    for after in (20, 45, 70):
        killed(after)
    take()
    assert Metric.objects.get(run=RUN, key="train/loss").count == 95


@pytest.mark.usefixtures("_small")
def test_points_of_many_transactions_fold_as_those_of_one(take):
    take()
    metric = Metric.objects.get(run=RUN, key="train/loss")
    rows = metric.points.order_by("id")
    alone = Metric(key=metric.key)
    series.reset_metric(alone)
    series.fold_points(alone, [Point(metric.key, row.value, row.step, row.at) for row in rows])
    names = ("count", "digest", "open_buckets", "value", "step", "lowest", "highest")
    assert [getattr(alone, name) for name in names] == [getattr(metric, name) for name in names]
    assert metric.buckets.filter(level=0).count() == 95 // 8
