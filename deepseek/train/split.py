"""Which rows are learned from, which decide when to stop, and which are held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.train.plan import count_share

Rows = npt.NDArray[np.int64]

FEWEST_ROWS = 10


@dataclass(frozen=True)
class Parts:
    """Rows of each part, ascending; no row is in two."""

    training: Rows
    validation: Rows
    test: Rows


def split_randomly(classes: Rows, validation_share: float, test_share: float, seed: int) -> Parts:
    """Parts drawn by chance, every class in equal shares; `classes` (n,), all zero where there are none.

    The rows are shuffled, then sorted by class, and each part takes rows at equal distances from a random start: that
    keeps the shares of every class to within one row. A class has at least one row in the training part.
    """
    draw = np.random.default_rng(seed)
    shuffled = draw.permutation(len(classes))
    ordered = shuffled[np.argsort(classes[shuffled], kind="stable")]
    test, rest = _select_spaced(ordered, count_share(len(classes), test_share), draw.random())
    validation, training = _select_spaced(rest, count_share(len(classes), validation_share), draw.random())
    for lost in np.setdiff1d(classes, classes[training]):
        if lost in classes[validation]:
            training, validation = _move_one(training, validation, classes, lost)
        else:
            training, test = _move_one(training, test, classes, lost)
    return Parts(np.sort(training), np.sort(validation), np.sort(test))


def split_in_order(rows: int, validation_share: float, test_share: float, gap: int = 0) -> Parts:
    """Parts in the order of the rows, the test part last; `gap` rows before each border belong to no part."""
    test = rows - count_share(rows, test_share)
    validation = test - count_share(rows, validation_share)
    return Parts(
        np.arange(0, max(0, validation - gap)),
        np.arange(validation, max(validation, test - gap)),
        np.arange(test, rows),
    )


def require_rows(rows: int, left_out: int, parts: Parts | None = None) -> None:
    """Raise EngineError ``too_few_rows`` where there are too few to split, to train on, or in one of the parts."""
    sizes = [len(parts.training), len(parts.validation), len(parts.test)] if parts else [2, 1, 1]
    if rows >= FEWEST_ROWS and sizes[0] >= 2 and min(sizes) >= 1:
        return
    raise EngineError(
        "too_few_rows",
        "{rows} usable rows are too few; {left_out} more were left out for missing or infinite values.",
        rows=rows,
        left_out=left_out,
        field="inputs/table",
        value=str(rows) if parts is None else f"{rows}, of which {sizes[0]} to train on",
        limit=f"at least {FEWEST_ROWS} rows, 2 to train on and 1 in each other part",
        hint=N_("Give more rows, fewer lags or a nearer horizon, or clean the table to fill what is missing."),
    )


def require_rows_of_classes(rows: int, classes: Sequence[str], parts: Parts) -> None:
    """Raise EngineError ``too_few_rows`` where the classes have taken every row of a part for the training one."""
    if not classes or min(len(parts.validation), len(parts.test)) >= 1:
        return
    raise EngineError(
        "too_few_rows",
        "{rows} usable rows have {count} classes: once each of these has a row to train on, too "
        "few are left to validate and to test with.",
        rows=rows,
        count=len(classes),
        field="/target",
        value=f"{len(classes)} classes",
        limit="several rows of most classes",
        hint=N_("If the target is an identifier, choose another one; else give more rows of each class."),
    )


def require_labels(parts: Parts, classes: Rows, names: Sequence[str]) -> None:
    """Raise EngineError ``label_only_in_test`` where a held-out row has a class that no training row has."""
    lost: dict[int, str] = {}
    for name, part in (("validation", parts.validation), ("test", parts.test)):
        lost |= dict.fromkeys(np.setdiff1d(classes[part], classes[parts.training]).tolist(), name)
    if not lost:
        return
    missing = ", ".join(repr(names[code]) for code in list(lost)[:20])
    where = " and ".join(sorted(set(lost.values()), reverse=True))
    raise EngineError(
        "label_only_in_test",
        "The training part has no row of {shown}, which the {where} part has: nothing could be learned of it.",
        shown=missing,
        where=where,
        field="/split",
        value=missing,
        limit="every class in the training part",
        hint=N_("Split at random, which puts every class into the training part; or leave these rows out."),
    )


def _select_spaced(rows: Rows, count: int, start: float) -> tuple[Rows, Rows]:
    """`count` of the rows at equal distances, and the others."""
    selected = np.zeros(len(rows), dtype=bool)
    selected[np.floor((np.arange(count) + start) * (len(rows) / count)).astype(np.int64).clip(max=len(rows) - 1)] = True
    return rows[selected], rows[~selected]


def _move_one(to: Rows, part: Rows, classes: Rows, label: int) -> tuple[Rows, Rows]:
    """Both parts after one row of the class `label` went over."""
    place = np.flatnonzero(classes[part] == label)[0]
    return np.append(to, part[place]), np.delete(part, place)
