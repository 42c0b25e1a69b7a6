"""What a service counts, and the text of /metrics (Prometheus, text format 0.0.4). All in the event loop: no locks."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
PREFIX = "deepseek_serve_"
Labels = Mapping[str, str]


class Histogram:
    """Observations by upper bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class ModelMetrics:
    """The counts of one model name, over all of its versions."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, int], int] = {}
        self.seconds, self.batch_rows = Histogram(SECONDS), Histogram(COUNTS)
        self.batch_requests = Histogram(COUNTS)
        self.rows = 0

    def record_answer(self, protocol: str, status: int, seconds: float) -> None:
        """Count one request that was answered."""
        key = (protocol, status)
        self.answers[key] = self.answers.get(key, 0) + 1
        self.seconds.observe(seconds)

    def record_batch(self, requests: int, rows: int) -> None:
        """Count one call of the model out of the queue."""
        self.batch_requests.observe(requests)
        self.batch_rows.observe(rows)


class MetricsText:
    """The text of /metrics, family by family."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, kind: str, help_: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """A family of counters or gauges; none if it has no samples."""
        lines = [f"{PREFIX}{name}{_format_labels(labels)} {value:.10g}" for labels, value in samples]
        if lines:
            self._lines += [f"# HELP {PREFIX}{name} {help_}", f"# TYPE {PREFIX}{name} {kind}", *lines]

    def add_histogram(self, name: str, help_: str, samples: Iterable[tuple[Labels, Histogram]]) -> None:
        """A family of histograms."""
        self._lines += [f"# HELP {PREFIX}{name} {help_}", f"# TYPE {PREFIX}{name} histogram"]
        for labels, histogram in samples:
            self._lines += _render_histogram(f"{PREFIX}{name}", labels, histogram)

    def encode(self) -> bytes:
        return "\n".join([*self._lines, ""]).encode()


def _render_histogram(name: str, labels: Labels, histogram: Histogram) -> Iterator[str]:
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    count = 0
    for bound, count in zip(bounds, accumulate(histogram.counts), strict=True):
        yield f"{name}_bucket{_format_labels({**labels, 'le': bound})} {count}"
    yield f"{name}_sum{_format_labels(labels)} {histogram.total:.10g}"
    yield f"{name}_count{_format_labels(labels)} {count}"


def _format_labels(labels: Labels) -> str:
    if not labels:
        return ""
    escape = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    return "{" + ",".join(f'{name}="{value.translate(escape)}"' for name, value in labels.items()) + "}"
