"""The lines that a job's metrics make."""

import pytest

from apps.platform.jobs import services
from apps.platform.jobs.status.recent_metrics import MAX_METRICS, MAX_POINTS, load_recent_metrics

pytestmark = pytest.mark.django_db


@pytest.fixture
def tell(running, worker_actor):
    """tell(*points) -> the job that told them, in one event."""

    def told(*points):
        services.report_events(actor=worker_actor, job=running, events=[("metric", {"points": list(points)})])
        return running

    return told


def test_points_are_in_the_order_they_were_told(tell):
    tell({"name": "loss", "value": 3, "step": 10}, {"name": "rate", "value": 0.5})
    job = tell({"name": "loss", "value": 2.5, "step": 20}, {"name": "rate", "value": 0.4})
    assert load_recent_metrics(job) == {"loss": [(10, 3), (20, 2.5)], "rate": [(1, 0.5), (2, 0.4)]}


def test_what_is_no_number_is_left_out(tell):
    job = tell({"name": "a", "value": "NaN"}, {"name": "a", "value": None}, {"value": 1}, {"name": "b", "value": True})
    assert load_recent_metrics(job) == {}


def test_a_long_line_is_thinned_and_keeps_its_end(tell):
    job = tell(*({"name": "loss", "value": n, "step": n} for n in range(1000)))
    points = load_recent_metrics(job)["loss"]
    assert len(points) <= MAX_POINTS
    assert points[-1] == (999, 999)


def test_no_more_lines_than_a_page_shows(tell):
    assert len(load_recent_metrics(tell(*({"name": f"m{n}", "value": n} for n in range(40))))) == MAX_METRICS
