"""Labels by which a site routes jobs: a node has some, a job asks for some, and runs only where all of them are.

A job keeps what it asks for as one text, so that the database finds those that fit by an index: a node with k labels
satisfies the requests of up to three of them, 93 at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Annotated

from pydantic import AfterValidator

from apps.core.errors import Invalid
from deepseek.messages import N_
from deepseek.spec_errors import build_spec_error

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,29}(=[A-Za-z0-9._-]{1,29})?")
MAX_LABELS = 8  # of a node
MAX_REQUESTED_LABELS = 3  # of a job
FORM = "letters, digits, . _ -, perhaps a = and a value; at most 30 characters on each side"


def validate_label(text: str) -> str:
    """One label as it is. Raises a spec error for another text."""
    if not LABEL.fullmatch(text):
        raise build_spec_error("bad_label", N_("{text!r} is not a label such as nvme or rack=3."), text=text[:60])
    return text


NodeLabel = Annotated[str, AfterValidator(validate_label)]


def parse_labels(text: str, limit: int = MAX_LABELS, field: str = "labels") -> list[str]:
    """The labels of a text with commas between, sorted and each once. Raises Invalid for one that is none."""
    labels = sorted({label.strip() for label in text.split(",")} - {""})
    wrong = next((label for label in labels if not LABEL.fullmatch(label)), None)
    if wrong is not None:
        raise Invalid(
            "{text!r} is not a label such as nvme or rack=3.",
            text=wrong[:60],
            code="bad_label",
            field=field,
            limit=FORM,
            hint=N_("Correct it, and put commas between labels."),
        )
    if len(labels) > limit:
        raise Invalid(
            "There are {count} labels.",
            count=len(labels),
            code="too_many_labels",
            field=field,
            limit=f"{limit} labels",
            hint=N_("Leave some out."),
        )
    return labels


def parse_requested_labels(text: str) -> str:
    """What a job asks for, as its row keeps it."""
    return join_labels(parse_labels(text, MAX_REQUESTED_LABELS, "needs/labels"))


def join_labels(labels: Iterable[str]) -> str:
    return ",".join(sorted(set(labels)))


def split_labels(text: str) -> list[str]:
    return text.split(",") if text else []


def find_missing_label(requested: str, labels: Sequence[str]) -> str:
    """The first label of a request that a node lacks; empty if it has all."""
    return next((label for label in split_labels(requested) if label not in labels), "")


def list_satisfied_requests(labels: Sequence[str]) -> list[str]:
    """Every request that a node with the labels satisfies, the empty one too."""
    ordered = sorted(labels)[:MAX_LABELS]
    sizes = range(MAX_REQUESTED_LABELS + 1)
    return [",".join(chosen) for size in sizes for chosen in combinations(ordered, size)]
