"""What one answer is worth beside its label, and what a batch adds to the figures of its hours. No database here."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.ml.observations.models import Task
from apps.ml.observations.schemas import is_number
from deepseek.observations.spec import CLASS_LIMIT

MAX_OUTPUTS = 1_000  # numbers of one answer of a regression
MAX_MAGNITUDE = 1e100  # of such a number: sums of squared errors stay finite


@dataclass(slots=True)
class Increment:
    """What a batch adds to one row of HourFigures. Sums and counts alone, so that the order of batches is no matter."""

    predictions: int = 0
    labelled: int = 0
    scored: int = 0
    correct: int = 0
    error_sum: float = 0.0
    error_square_sum: float = 0.0
    bias_sum: float = 0.0
    latency_count: int = 0
    latency_us_sum: int = 0
    latency_us_max: int = 0
    classes: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))

    def add_prediction(self, task: str, answer: Any, latency_ms: float | None) -> None:
        self.predictions += 1
        if latency_ms is not None:
            microseconds = round(latency_ms * 1000)
            self.latency_count += 1
            self.latency_us_sum += microseconds
            self.latency_us_max = max(self.latency_us_max, microseconds)
        if task == Task.CLASSIFICATION:
            self.classes[get_class_name(answer)][0] += 1

    def add_label(self, task: str, answer: Any, label: Any) -> None:
        """Count a label with the answer that it belongs to."""
        self.labelled += 1
        if task == Task.CLASSIFICATION:
            self.scored += 1
            name = get_class_name(label)
            is_right = name == get_class_name(answer)
            self.correct += is_right
            self.classes[name][1] += 1
            self.classes[name][2] += is_right
        elif task == Task.REGRESSION:
            answers, labels = list_numbers(answer), list_numbers(label)
            if len(answers) != len(labels):  # of other shapes: there is no error to speak of
                return
            differences = [provided - right for provided, right in zip(answers, labels, strict=True)]
            self.scored += 1
            self.error_sum += sum(map(abs, differences)) / len(differences)
            self.error_square_sum += sum(gap * gap for gap in differences) / len(differences)
            self.bias_sum += sum(differences) / len(differences)


def get_class_name(value: Any) -> str:
    """The name of a class: a text as it is, a number or truth value as JSON has it (2.0 is 2)."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


def list_numbers(value: Any) -> Sequence[float]:
    return value if isinstance(value, list) else [value]


def find_value_problem(task: str, value: Any) -> str:
    """What a value has to be that is no answer or label of this task; "" where it is one."""
    if task == Task.CLASSIFICATION:
        is_class = isinstance(value, str | int | bool) or is_number(value)
        return "" if is_class and 0 < len(get_class_name(value)) <= CLASS_LIMIT else CLASS_RULE
    if task == Task.REGRESSION:
        numbers = list_numbers(value)
        is_bounded = all(is_number(number) and abs(number) <= MAX_MAGNITUDE for number in numbers)
        return "" if 0 < len(numbers) <= MAX_OUTPUTS and is_bounded else NUMBER_RULE
    return "" if value is not None else VALUE_RULE


CLASS_RULE = f"a class: a text of 1 to {CLASS_LIMIT} characters, a number, true or false"
NUMBER_RULE = f"a number, or a list of 1 to {MAX_OUTPUTS} numbers, from -{MAX_MAGNITUDE:g} to {MAX_MAGNITUDE:g}"
VALUE_RULE = "any value but null"
