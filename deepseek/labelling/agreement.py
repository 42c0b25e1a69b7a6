"""How far annotators agree: Cohen's and Fleiss' kappa, Krippendorff's alpha, and F1 of spans by label and annotator.

The coefficients are those of libraries (scikit-learn, statsmodels, krippendorff). Their units are, by kind of marks:
tokens of the texts with the label of each (or none), ordered pairs of the entities that any of the annotators marked
with the relation between them (or none), and tasks with their class or the value of a field.

Sources: Cohen 1960; Fleiss 1971; Krippendorff, Content Analysis, 3rd ed., 12; exact-match F1 as of CoNLL 2003.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from deepseek.entities.tokens import tokenize
from deepseek.labelling.marks import Marks

NOTHING = ""
MAX_UNITS = 2_000_000  # of one coefficient: more would say the same to the third digit


@dataclass
class Counts:
    """Spans (or relations) that two annotators marked both, and that one of them marked alone."""

    both: int = 0
    first: int = 0
    second: int = 0

    def add(self, first: set[Any], second: set[Any]) -> None:
        both = len(first & second)
        self.both, self.first, self.second = self.both + both, self.first + len(first), self.second + len(second)

    @property
    def f1(self) -> float | None:
        """2 * both / all; None where neither marked anything."""
        total = self.first + self.second
        return 2 * self.both / total if total else None

    def to_dict(self) -> dict[str, Any]:
        return {"f1": self.f1, "both": self.both, "first": self.first, "second": self.second}


@dataclass
class AgreementTask:
    """One task and the marks of each annotator in it."""

    text: str
    marks: Mapping[str, Marks]
    gold: Marks | None = None


@dataclass
class Tally:
    """What is counted while tasks go by."""

    tasks: int = 0
    units: list[dict[str, str]] = field(default_factory=list)  # {annotator: value} of each unit
    by_label: dict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))
    by_pair: dict[tuple[str, str], Counts] = field(default_factory=lambda: defaultdict(Counts))
    gold: dict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))
    equal: int = 0


def measure_agreement(tasks: Iterable[AgreementTask]) -> dict[str, Any]:
    """The figures of all tasks as JSON: {tasks, value, measure, cohen, fleiss, alpha, labels, pairs, annotators, gold}.

    `value`, by which a result is judged, is Krippendorff's alpha: it takes any number of annotators and gaps. It is
    None where no task has two annotators, and 1 where they used a single value in complete agreement.
    """
    tally = Tally()
    for task in tasks:
        names = sorted(task.marks)
        if task.gold is not None:
            for name in names:
                tally.gold[name].add(list_items(task.marks[name]), list_items(task.gold))
        if len(names) < 2:
            continue
        tally.tasks += 1
        tally.equal += len({repr(task.marks[name].to_dict()) for name in names}) == 1
        if len(tally.units) < MAX_UNITS:
            tally.units += build_units(task)
        for first, second in combinations(names, 2):
            items = list_items(task.marks[first]), list_items(task.marks[second])
            tally.by_pair[(first, second)].add(*items)
            for label in {item[0] for item in (*items[0], *items[1])}:
                one, other = ({item for item in side if item[0] == label} for side in items)
                tally.by_label[label].add(one, other)
    return summarize(tally)


def list_items(marks: Marks) -> set[tuple[Any, ...]]:
    """What one annotator marked, as comparable items that begin with their label: spans, relations, class, fields."""
    spans = {(span.label, span.start, span.end) for span in marks.spans}
    relations = {(row.type, *list_ends(marks, row.source), *list_ends(marks, row.target)) for row in marks.relations}
    classes = {(marks.label,)} if marks.label else set()
    return spans | relations | classes | {(name, str(value)) for name, value in marks.fields.items()}


def list_ends(marks: Marks, place: int) -> tuple[int, int]:
    return marks.spans[place].start, marks.spans[place].end


def build_units(task: AgreementTask) -> list[dict[str, str]]:
    """{annotator: value} of each unit of the task."""
    units: list[dict[str, str]] = []
    names = sorted(task.marks)
    if task.text and any(marks.spans for marks in task.marks.values()):
        labels = {name: label_tokens(task.text, task.marks[name]) for name in names}
        units += [{name: labels[name][place] for name in names} for place in range(len(labels[names[0]]))]
    ends = sorted({(span.start, span.end) for marks in task.marks.values() for span in marks.spans})
    if any(marks.relations for marks in task.marks.values()):
        found = {
            name: {(list_ends(marks, row.source), list_ends(marks, row.target)): row.type for row in marks.relations}
            for name, marks in task.marks.items()
        }
        pairs = [(a, b) for a in ends for b in ends if a != b]
        units += [{name: found[name].get(pair, NOTHING) for name in names} for pair in pairs]
    if any(marks.label for marks in task.marks.values()):
        units.append({name: task.marks[name].label for name in names})
    for key in sorted({key for marks in task.marks.values() for key in marks.fields}):
        units.append({name: f"{key}={task.marks[name].fields.get(key, NOTHING)}" for name in names})
    return units


def label_tokens(text: str, marks: Marks) -> list[str]:
    """The label of each token: of the span that it lies in, or none."""
    labels, spans, place = [], marks.spans, 0
    for token in tokenize(text):
        while place < len(spans) and spans[place].end <= token.start:
            place += 1
        inside = place < len(spans) and spans[place].start < token.end
        labels.append(spans[place].label if inside else NOTHING)
    return labels


def summarize(tally: Tally) -> dict[str, Any]:
    value = compute_alpha(tally.units)
    pairs = []
    for (first, second), counts in sorted(tally.by_pair.items()):
        shared = [(unit[first], unit[second]) for unit in tally.units if first in unit and second in unit]
        pairs.append({"annotators": [first, second], "cohen": compute_cohen(shared), **counts.to_dict()})
    annotators: dict[str, Counts] = defaultdict(Counts)
    for (first, second), counts in tally.by_pair.items():
        for name, own, reference in ((first, counts.first, counts.second), (second, counts.second, counts.first)):
            total = annotators[name]
            total.both, total.first, total.second = (
                total.both + counts.both,
                total.first + own,
                total.second + reference,
            )
    return {
        "tasks": tally.tasks,
        "equal": tally.equal,
        "units": len(tally.units),
        "measure": "krippendorff",
        "value": value,
        "fleiss": compute_fleiss(tally.units),
        "labels": [{"label": name, **tally.by_label[name].to_dict()} for name in sorted(tally.by_label)],
        "pairs": pairs,
        "annotators": [{"annotator": name, "f1": annotators[name].f1} for name in sorted(annotators)],
        "gold": [{"annotator": name, **tally.gold[name].to_dict()} for name in sorted(tally.gold)],
    }


def compute_alpha(units: Sequence[Mapping[str, str]]) -> float | None:
    """Krippendorff's alpha of nominal values."""
    import krippendorff

    if not units:
        return None
    values = {value: place for place, value in enumerate(sorted({value for unit in units for value in unit.values()}))}
    if len(values) == 1:
        return 1.0
    counts = np.zeros((len(units), len(values)))
    for place, unit in enumerate(units):
        for value in unit.values():
            counts[place, values[value]] += 1
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def compute_cohen(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa of two annotators."""
    from sklearn.metrics import cohen_kappa_score

    if not pairs:
        return None
    if len({value for pair in pairs for value in pair}) == 1:
        return 1.0  # complete agreement on one value, for which the formula divides by nothing
    first, second = zip(*pairs, strict=True)
    return float(cohen_kappa_score(list(first), list(second)))


def compute_fleiss(units: Sequence[Mapping[str, str]]) -> float | None:
    """Fleiss' kappa over the units with the most frequent number of annotators: it takes no gaps."""
    from statsmodels.stats.inter_rater import fleiss_kappa

    if not units:
        return None
    most = Counter(len(unit) for unit in units).most_common(1)[0][0]
    chosen = [unit for unit in units if len(unit) == most]
    values = {value: place for place, value in enumerate(sorted({value for unit in chosen for value in unit.values()}))}
    if len(values) == 1:
        return 1.0
    counts = np.zeros((len(chosen), len(values)), dtype=int)
    for place, unit in enumerate(chosen):
        for value in unit.values():
            counts[place, values[value]] += 1
    return float(fleiss_kappa(counts))
