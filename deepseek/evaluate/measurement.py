"""The figures of answers on a table, whoever gave them: of all rows, and of slices by the same draws."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.evaluate.bootstrap import Series, pairing_of, series_of, told_of
from deepseek.evaluate.classes import bin_of, measures_of_classes
from deepseek.evaluate.document import CalibrationBin, SliceFigures
from deepseek.evaluate.examples import FEWEST_ROWS, Examples
from deepseek.evaluate.measures import Blocks, Floats, Measure, Outputs, Target
from deepseek.evaluate.ranking import measures_of_queries
from deepseek.evaluate.slices import Part, distinct, parts_of
from deepseek.evaluate.spec import Measures
from deepseek.evaluate.values import measures_of_values
from deepseek.job import EngineError, Report
from deepseek.messages import N_, Message
from deepseek.models.evaluate import blocks_of, draws_of

MOST_SLICES = 60
MOST_DRAWS = 2_000_000
"""Slices beyond these, or beyond so many replicates in all, are left out: a gate reads what is kept of each."""


@dataclass(frozen=True)
class Answers:
    """What was said of each row: `outputs` (n, 1) of values or of scores, or (n, C) of class shares; without `outputs`
    classes alone were told. `guess` (n,) are places in `classes`: the class that was told, where it is one. `scores`:
    the outputs are those of a ranking of classes, and no shares even where there is one class."""

    task: str
    classes: list[str]
    outputs: Outputs | None
    guess: Target | None = None
    scores: bool = False

    @property
    def shares(self) -> Outputs | None:
        """(n, C), where every class was given one."""
        return self.outputs if self.task == "classification" and not self.scores else None


@dataclass(frozen=True)
class Sliced:
    """The figures of the slices, the replicates of all rows and of each slice, and what a reader should know."""

    figures: list[SliceFigures]
    series: list[dict[str, Any]]
    notes: list[str]


class Measuring:
    """The figures of answers on one table: of all rows, and of some of them by the same draws."""

    def __init__(self, spec: Measures, answers: Answers, examples: Examples) -> None:
        self.spec, self.answers, self.examples = spec, answers, examples
        self.task = "ranking" if spec.group else answers.task
        self.positive = _positive(spec, answers)
        query = examples.query
        units = len(examples.rows) if query is None else int(query.max()) + 1
        self.blocks = blocks_of(self.task, units, spec.seed, examples.horizon)  # of each row, or of each query
        self.count = int(self.blocks.max()) + 1
        self.draws = draws_of(self.count, spec.seed, spec.replicates).astype(np.float64)
        drawn = self.blocks if query is None else self.blocks[query]
        self.pairing = pairing_of(
            examples.rows, examples.target, answers.classes, drawn, spec.seed, spec.replicates, examples.horizon
        )
        self.method = "block bootstrap" if self.task == "forecast" else "bootstrap"
        self.whole = self.series(np.ones(len(examples.rows), bool))

    def series(self, among: Any) -> list[Series]:
        """The figures of the rows `among` (n,) of bool."""
        measures = self.measures(among)
        return series_of(
            measures, self.draws, confidence=self.spec.confidence, method=self.method, rows=int(among.sum())
        )

    def measures(self, among: Any) -> list[Measure]:
        outputs, guess = (
            None if given is None else given[among] for given in (self.answers.outputs, self.answers.guess)
        )
        target, query = self.examples.target[among], self.examples.query
        if query is not None and outputs is not None:
            found, numbered = np.unique(query[among], return_inverse=True)
            return measures_of_queries(
                _scores(outputs, self.positive),
                _relevance(target, self.positive),
                numbered,
                self.blocks[found],
                self.count,
                places=list(dict.fromkeys(self.spec.places)),
            )
        blocks: Blocks = self.blocks[among]
        if self.task == "classification":
            return measures_of_classes(
                outputs,
                target,
                blocks,
                self.count,
                guess=guess,
                classes=len(self.answers.classes),
                positive=self.positive,
                bins=self.spec.calibration_bins,
            )
        return [] if outputs is None else measures_of_values(outputs, target, blocks, self.count)

    def slices(self, report: Report) -> Sliced:
        """The figures of each slice, and all replicates as they are kept."""
        parts: list[Part] = []
        table = self.examples.table.slice(self.spec.first_row)  # rows before it would fill bins that nobody measures
        for place, wanted in enumerate(self.spec.slices):
            parts += parts_of(table, wanted, f"/slices/{place}/column")
        parts = distinct(parts)
        told, made, notes = told_of(self.whole, None), list[SliceFigures](), list[str]()
        most = min(MOST_SLICES, MOST_DRAWS // (self.spec.replicates * max(1, len(self.whole))))
        if len(parts) > most:
            notes.append(
                Message("There are {count} slices; the first {most} are measured.", count=len(parts), most=most)
            )
        for done, part in enumerate(parts[:most]):
            report.progress(done, len(parts), "slices", stage="slice")
            among = self.members(part)
            rows = int(among.sum())
            series = self.series(among) if rows >= FEWEST_ROWS else []
            told += told_of(series, (part.column, part.value))
            figures = [one.metric for one in series]
            made.append(SliceFigures(column=part.column, value=part.value, rows=rows, metrics=figures))
        return Sliced(made, told, notes)

    def members(self, part: Part) -> Any:
        """Which rows measured are in the slice; a query is in the slice of its first row, whole."""
        among = part.rows[self.examples.rows - self.spec.first_row]
        if self.examples.query is None:
            return among
        _, first = np.unique(self.examples.query, return_index=True)
        return among[first][self.examples.query]

    def calibration(self) -> list[CalibrationBin]:
        """How sure the model was and how often it was right, for each bin that holds a row."""
        shares = self.answers.shares
        if self.task != "classification" or shares is None:
            return []
        largest, bins = shares.max(axis=1).astype(np.float64), self.spec.calibration_bins
        hit, place = shares.argmax(axis=1) == self.examples.target, bin_of(largest, bins)
        return [
            CalibrationBin(
                low=k / bins,
                high=(k + 1) / bins,
                rows=int((place == k).sum()),
                confidence=float(largest[place == k].mean()),
                accuracy=float(hit[place == k].mean()),
            )
            for k in range(bins)
            if (place == k).any()
        ]


def _positive(spec: Measures, answers: Answers) -> int | None:
    """The place of the positive class; None of more than two classes, or of numbers."""
    if answers.task != "classification" or (len(answers.classes) != 2 and spec.positive is None):
        if spec.group and answers.task == "classification":
            raise _positive_unknown(spec, answers)
        return None
    if spec.positive is None:
        return 1
    if spec.positive not in answers.classes or (len(answers.classes) != 2 and not spec.group):
        raise _positive_unknown(spec, answers)
    return answers.classes.index(spec.positive)


def _positive_unknown(spec: Measures, answers: Answers) -> EngineError:
    return EngineError(
        "positive_unknown",
        "The positive class must be one of the model's; only of two classes, or for a ranking, is there one.",
        field="/positive",
        value=spec.positive or "none",
        limit=", ".join(answers.classes[:20]),
        hint=N_("Name a class of the target, or leave the field empty."),
    )


def _scores(outputs: Outputs, positive: int | None) -> Floats:
    """Of a ranking: the value, the score that was given, or the share of the positive class."""
    return outputs[:, 0 if positive is None or outputs.shape[1] == 1 else positive].astype(np.float64)


def _relevance(target: Any, positive: int | None) -> Floats:
    if positive is not None:
        return np.asarray(target == positive, np.float64)
    if (target < 0).any():
        raise EngineError(
            "relevance_negative",
            "A relevance below 0 ranks nothing.",
            field="inputs/table",
            value=f"{float(target.min()):g}",
            limit="0 or more",
            hint=N_("Add a constant to the target, or leave the query column out."),
        )
    return np.asarray(target, np.float64)
