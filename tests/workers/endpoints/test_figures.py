import pytest

from workers.endpoints.figures import FigureWindow, estimate_quantile

BOUNDS = [0.001, 0.002, 0.004]


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [([0, 0, 0, 0], 0.5, None), ([4, 0, 0, 0], 0.5, 0.5), ([2, 2, 0, 0], 0.75, 1.5), ([0, 0, 0, 5], 0.95, 4.0)],
)
def test_quantiles_are_drawn_through_their_bucket(counts, share, expected):
    assert estimate_quantile(BOUNDS, counts, share) == expected


def test_rate_and_latency_are_of_what_came_since_the_first_look(monkeypatch):
    now = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr("workers.endpoints.figures.time.monotonic", lambda: next(now))
    window, fixed = FigureWindow(), {"refused": 1, "failed": 0, "swaps": 0}

    def look(answered, counts):
        return window.add({**fixed, "answered": answered, "seconds": {"bounds": BOUNDS, "counts": counts}})

    assert (look(10, [10, 0, 0, 0])["rate"], window.samples[-1][1]) == (0.0, 10)
    later = look(30, [10, 20, 0, 0])
    assert (later["rate"], later["p50_ms"], later["requests"]) == (2.0, 1.5, 30)
    assert look(5, [5, 0, 0, 0])["rate"] == 0.0  # a new server counts from zero
