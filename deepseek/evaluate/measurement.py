"""The figures of answers on a table, whoever gave them: of all rows, and of slices by the same draws."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.evaluate.bootstrap import Series, build_series, compute_pairing, serialize_series
from deepseek.evaluate.classes import build_class_measures, compute_calibration_bins
from deepseek.evaluate.document import CalibrationBin, SliceFigures
from deepseek.evaluate.examples import FEWEST_ROWS, Examples
from deepseek.evaluate.measures import Blocks, Floats, Measure, Outputs, Target
from deepseek.evaluate.ranking import build_ranking_measures
from deepseek.evaluate.slices import Part, make_names_unique, split_into_slices
from deepseek.evaluate.spec import Measures
from deepseek.evaluate.values import build_value_measures
from deepseek.job import EngineError, Report
from deepseek.messages import N_, Message
from deepseek.models.evaluate import assign_blocks, draw_blocks

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
class SliceResults:
    """The figures of the slices, the replicates of all rows and of each slice, and what a reader should know."""

    figures: list[SliceFigures]
    series: list[dict[str, Any]]
    notes: list[str]


class Measurement:
    """The figures of answers on one table: of all rows, and of some of them by the same draws."""

    def __init__(self, spec: Measures, answers: Answers, examples: Examples) -> None:
        self.spec, self.answers, self.examples = spec, answers, examples
        self.task = "ranking" if spec.group else answers.task
        self.positive = _find_positive(spec, answers)
        query = examples.query
        units = len(examples.rows) if query is None else int(query.max()) + 1
        self.blocks = assign_blocks(self.task, units, spec.seed, examples.horizon)  # of each row, or of each query
        self.count = int(self.blocks.max()) + 1
        self.draws = draw_blocks(self.count, spec.seed, spec.replicates).astype(np.float64)
        row_blocks = self.blocks if query is None else self.blocks[query]
        self.pairing = compute_pairing(
            examples.rows, examples.target, answers.classes, row_blocks, spec.seed, spec.replicates, examples.horizon
        )
        self.method = "block bootstrap" if self.task == "forecast" else "bootstrap"
        self.overall = self.compute_series(np.ones(len(examples.rows), bool))

    def compute_series(self, among: Any) -> list[Series]:
        """The figures of the rows `among` (n,) of bool."""
        measures = self.build_measures(among)
        return build_series(
            measures, self.draws, confidence=self.spec.confidence, method=self.method, rows=int(among.sum())
        )

    def build_measures(self, among: Any) -> list[Measure]:
        outputs, guess = (
            None if answer is None else answer[among] for answer in (self.answers.outputs, self.answers.guess)
        )
        target, query = self.examples.target[among], self.examples.query
        if query is not None and outputs is not None:
            queries, numbered = np.unique(query[among], return_inverse=True)
            return build_ranking_measures(
                _select_scores(outputs, self.positive),
                _compute_relevance(target, self.positive),
                numbered,
                self.blocks[queries],
                self.count,
                places=list(dict.fromkeys(self.spec.places)),
            )
        blocks: Blocks = self.blocks[among]
        if self.task == "classification":
            return build_class_measures(
                outputs,
                target,
                blocks,
                self.count,
                guess=guess,
                classes=len(self.answers.classes),
                positive=self.positive,
                bins=self.spec.calibration_bins,
            )
        return [] if outputs is None else build_value_measures(outputs, target, blocks, self.count)

    def measure_slices(self, report: Report) -> SliceResults:
        """The figures of each slice, and all replicates as they are kept."""
        parts: list[Part] = []
        table = self.examples.table.slice(self.spec.first_row)  # rows before it would fill bins that nobody measures
        for place, slice_spec in enumerate(self.spec.slices):
            parts += split_into_slices(table, slice_spec, f"/slices/{place}/column")
        parts = make_names_unique(parts)
        replicates, figures_by_slice, notes = serialize_series(self.overall, None), list[SliceFigures](), list[str]()
        most = min(MOST_SLICES, MOST_DRAWS // (self.spec.replicates * max(1, len(self.overall))))
        if len(parts) > most:
            notes.append(
                Message("There are {count} slices; the first {most} are measured.", count=len(parts), most=most)
            )
        for done, part in enumerate(parts[:most]):
            report.progress(done, len(parts), "slices", stage="slice")
            among = self.select_members(part)
            rows = int(among.sum())
            series = self.compute_series(among) if rows >= FEWEST_ROWS else []
            replicates += serialize_series(series, (part.column, part.value))
            figures = [row_series.metric for row_series in series]
            figures_by_slice.append(SliceFigures(column=part.column, value=part.value, rows=rows, metrics=figures))
        return SliceResults(figures_by_slice, replicates, notes)

    def select_members(self, part: Part) -> Any:
        """Which rows measured are in the slice; a query is in the slice of its first row, whole."""
        among = part.rows[self.examples.rows - self.spec.first_row]
        if self.examples.query is None:
            return among
        _, first = np.unique(self.examples.query, return_index=True)
        return among[first][self.examples.query]

    def compute_calibration(self) -> list[CalibrationBin]:
        """How sure the model was and how often it was right, for each bin that holds a row."""
        shares = self.answers.shares
        if self.task != "classification" or shares is None:
            return []
        return compute_calibration_bins(shares, self.examples.target, self.spec.calibration_bins)


def _find_positive(spec: Measures, answers: Answers) -> int | None:
    """The place of the positive class; None of more than two classes, or of numbers."""
    if answers.task != "classification" or (len(answers.classes) != 2 and spec.positive is None):
        if spec.group and answers.task == "classification":
            raise _build_unknown_positive_error(spec, answers)
        return None
    if spec.positive is None:
        return 1
    if spec.positive not in answers.classes or (len(answers.classes) != 2 and not spec.group):
        raise _build_unknown_positive_error(spec, answers)
    return answers.classes.index(spec.positive)


def _build_unknown_positive_error(spec: Measures, answers: Answers) -> EngineError:
    return EngineError(
        "positive_unknown",
        "The positive class must be one of the model's; only of two classes, or for a ranking, is there one.",
        field="/positive",
        value=spec.positive or "none",
        limit=", ".join(answers.classes[:20]),
        hint=N_("Name a class of the target, or leave the field empty."),
    )


def _select_scores(outputs: Outputs, positive: int | None) -> Floats:
    """Of a ranking: the value, the score that was given, or the share of the positive class."""
    return outputs[:, 0 if positive is None or outputs.shape[1] == 1 else positive].astype(np.float64)


def _compute_relevance(target: Any, positive: int | None) -> Floats:
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
