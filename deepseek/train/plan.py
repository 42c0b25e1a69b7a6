"""What a training will do, before it begins: rows of each part, epochs of each batch size, steps. Pure arithmetic.

The engine counts by these functions and a form can show the same numbers: importing this loads nothing heavy.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deepseek.train.loop_spec import ScheduleSpec
from deepseek.train.schedule import DECAY_STEPS, batch_sizes, learning_rate
from deepseek.train.spec import TrainSpec

DECAYS_DRAWN = 12  # each to a tenth: what is left then moves no weight
_POINTS = 60  # along the line, beside the corners


@dataclass(frozen=True)
class Phase:
    """Epochs that share one batch size: `epoch` and `step` are those at which it begins, counted from 0."""

    batch: int
    epoch: int
    epochs: int
    step: int
    steps: int


def count_share(rows: int, share: float) -> int:
    """Rows of a part that takes this share, at least one."""
    return max(1, round(rows * share))


def count_windows(rows: int, lags: int, horizon: int) -> int:
    """Examples that a series of so many rows holds: each sees `lags` values and predicts `horizon` rows ahead."""
    return max(0, rows - lags - horizon + 1)


def count_rows_left(rows: int, shares: Iterable[float]) -> int:
    """Rows that parts of these shares leave to train on."""
    return max(0, rows - sum(count_share(rows, share) for share in shares))


def count_training_rows(spec: TrainSpec, rows: int) -> int:
    """Examples to train on, of a table of so many rows of which none is left out for a missing value."""
    series = spec.task == "forecast"
    count = count_windows(rows, spec.lags, spec.horizon) if series else rows
    evaluation_rows = count_share(count, spec.test_share) + count_share(count, spec.validation_share)
    gap = spec.horizon - 1 if series and spec.split != "random" else 0
    return max(0, count - evaluation_rows - gap)


def count_steps(rows: int, batch: int) -> int:
    """Steps of one epoch; the last may have fewer rows."""
    return -(-rows // batch)


def plan_phases(schedule: ScheduleSpec, epochs: int, rows: int) -> list[Phase]:
    """The phases of a training on so many examples, one for each batch size that comes to its turn."""
    sizes = batch_sizes(schedule.first_batch, schedule.last_batch)
    # The first epoch whose `epoch * len(sizes) // epochs` reaches the place of the size, as in progressive_batch.
    begins = [-(-place * epochs // len(sizes)) for place in range(len(sizes) + 1)]
    phases: list[Phase] = []
    step = 0
    for size, begin, end in zip(sizes, begins, begins[1:], strict=False):
        if end > begin:
            steps = (end - begin) * count_steps(rows, size)
            phases.append(Phase(size, begin, end - begin, step, steps))
            step += steps
    return phases


def count_total_steps(schedule: ScheduleSpec, epochs: int, rows: int) -> int:
    """Steps of a training that patience does not end before."""
    return sum(phase.steps for phase in plan_phases(schedule, epochs, rows))


def list_learning_rates(schedule: ScheduleSpec, steps: int) -> list[tuple[int, float]]:
    """(step, learning rate) along a training of so many steps: its corners, and evenly between them."""
    return [
        (step, learning_rate(step, schedule.warmup_steps, schedule.init_lr, schedule.max_lr))
        for step in sorted(set(_select_points(schedule.warmup_steps, steps)))
    ]


def _select_points(warmup: int, steps: int) -> Iterator[int]:
    """Both sides of each corner: the line falls at once where the rate decays."""
    plotted = min(steps, warmup + DECAYS_DRAWN * DECAY_STEPS)
    corners = (0, warmup - 1, warmup, plotted - 1)
    edges = range((warmup // DECAY_STEPS + 1) * DECAY_STEPS, plotted, DECAY_STEPS)
    even = (place * max(0, plotted - 1) // _POINTS for place in range(_POINTS + 1))
    for step in (*corners, *edges, *(edge - 1 for edge in edges), *even):
        if 0 <= step < plotted:
            yield step


def list_batches(phases: list[Phase]) -> list[tuple[int, int]]:
    """(step, batch size) at both ends of each phase."""
    return [point for p in phases for point in ((p.step, p.batch), (p.step + p.steps - 1, p.batch))]
