import copy
import math

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.errors import Invalid, Refused, StaleState
from apps.ml.experiments import services
from apps.ml.experiments.models import Metric, MetricPoint
from apps.ml.experiments.services import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def values(metric):
    return list(metric.points.order_by("id").values_list("step", "value"))


def test_newest_lowest_and_highest(run, log):
    log(run, loss=[0.9, 0.4])
    log(run, loss=[(3, 0.6), (4, 0.5)])
    loss = run.metrics.get()
    assert (loss.value, loss.step, loss.first_step, loss.count) == (0.5, 4, 1, 4)
    assert (loss.lowest, loss.lowest_step, loss.highest, loss.highest_step) == (0.4, 2, 0.9, 1)
    assert values(loss) == [(1, 0.9), (2, 0.4), (3, 0.6), (4, 0.5)]


def test_a_late_step_does_not_become_the_newest(run, log):
    log(run, loss=[(5, 1.0), (2, 9.0)])
    loss = run.metrics.get()
    assert (loss.value, loss.step, loss.first_step, loss.highest_step) == (1.0, 5, 2, 2)


def test_nan_and_infinity_are_values(run, log):
    log(run, loss=[math.inf, math.nan], good=[-math.inf])
    loss, good = run.metrics.get(key="loss"), run.metrics.get(key="good")
    assert (math.isnan(loss.number), loss.lowest, loss.count) == (True, math.inf, 2)
    assert [math.isnan(point.number) for point in loss.points.order_by("step")] == [False, True]
    assert (good.number, good.lowest) == (-math.inf, -math.inf)


def test_a_resumed_attempt_replaces_what_it_reports_again(run, log, job, start, next_attempt):
    log(run, loss=[9, 8, 7, 6], lr=[1, 1, 1, 1])
    again = start(next_attempt(job))
    log(again, loss=[(3, 7.5)])
    log(again, loss=[(4, 6.5), (5, 5.5)])
    loss = again.metrics.get(key="loss")
    assert values(loss) == [(1, 9), (2, 8), (3, 7.5), (4, 6.5), (5, 5.5)]
    assert (loss.count, loss.lowest, loss.highest) == (5, 5.5, 9)
    assert again.metrics.get(key="lr").count == 4


def test_an_attempt_from_the_start_replaces_everything(run, log, job, start, next_attempt):
    log(run, loss=[9, 8, 7])
    again = start(next_attempt(job))
    log(again, loss=[5])
    loss = again.metrics.get()
    assert (values(loss), loss.count, loss.highest, loss.first_step) == ([(1, 5)], 1, 5, 1)


def test_the_digest_is_that_of_the_run_that_was_not_broken_off(start, log, finish, add_job, next_attempt):
    whole, broken_job = start(), add_job()
    log(whole, loss=[9, 8, 7, 6], accuracy=[(0, math.nan)])
    broken = start(broken_job)
    log(broken, loss=[9, 8, 7])
    broken = start(next_attempt(broken_job))
    log(broken, accuracy=[(0, math.nan)], loss=[(2, 8), (3, 7)])
    log(broken, loss=[(4, 6)])
    assert finish(whole).metrics_digest == finish(broken).metrics_digest != ""


def test_another_value_is_another_digest(start, log, finish):
    digests = []
    for series in ({"loss": [1.0]}, {"loss": [1.0000001]}, {"loss": [(2, 1.0)]}, {"lost": [1.0]}, {"loss": [1, 1]}):
        run = start()
        log(run, **series)
        digests.append(finish(run).metrics_digest)
    assert len(set(digests)) == 5


def test_a_late_twin_writes_nothing(run, log, job, start, next_attempt):
    twin = copy.copy(run)
    again = start(next_attempt(job))
    log(again, loss=[5])
    with pytest.raises(StaleState):
        log(twin, loss=[(2, 4)])
    assert MetricPoint.objects.count() == 1


def test_a_closed_run_takes_nothing(run, log, finish):
    finish(run)
    with pytest.raises(StaleState):
        log(run, loss=[1])


@pytest.mark.parametrize("key", ["", "k" * 251, "nul\x00"])
def test_a_key_of_nonsense_is_named(run, log, key):
    with pytest.raises(Invalid) as refused:
        log(run, **{"loss": [1], key: [1]})
    assert (refused.value.field, Metric.objects.count()) == ("key", 0)


def test_a_step_out_of_range_is_named(run, log):
    with pytest.raises(Invalid) as refused:
        log(run, loss=[(2**60, 1)])
    assert refused.value.field == "step"


def test_names_without_end_are_left_out(run, log, monkeypatch):
    monkeypatch.setattr(jobs, "KEYS_LIMIT", 3)
    assert log(run, **{f"k{n}": [1] for n in range(5)}) == 2
    assert log(run, k0=[(2, 1)], other=[1]) == 1
    assert set(run.metrics.values_list("key", "count")) == {("k0", 2), ("k1", 1), ("k2", 1)}


def test_many_points_cost_the_same_queries_as_few(start, log):
    def cost(run, count):
        with CaptureQueriesContext(connection) as seen:
            log(run, loss=[float(n) for n in range(count)])
        return len(seen)

    assert cost(start(), 20) == cost(start(), 150)


def test_only_a_worker_records(actor_for, engineer, run):
    with pytest.raises(Refused):
        services.log_metrics(actor=actor_for(engineer), run=run, points=[])
