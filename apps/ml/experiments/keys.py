"""Validate the names of metrics, params, tags and files by MLflow's rules, with MLflow's error texts.

Its clients' tests look for these texts, so they have no hint: the limit stands in the text.
"""

from __future__ import annotations

import json
import posixpath
import re

from apps.core.errors import Invalid
from deepseek.messages import Message

KEY_LIMIT = 250  # characters
EXPERIMENT_TAG_LIMIT = 20_000
TAG_LIMIT = 8000  # of a run's tag: what is longer is cut, as MLflow does unless it is told otherwise
PARAM_LIMIT = 6000  # likewise
# Tags that mean something to MLflow, and so here.
PARENT_TAG = "mlflow.parentRunId"  # of a nested run: the run that it belongs to
NAME_TAG = "mlflow.runName"  # the run's name: a column, never a row
NOTE_TAG = "mlflow.note.content"  # what its pages show as the description, in Markdown
CONTEXT_TAG = "mlflow.data.context"  # of a dataset: what the run used it for
KEY = re.compile(r"[\w.\- :/]*", re.UNICODE)
PLAIN = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.\- :]*")  # what nearly all are: in order as they stand
LETTERS = Message(
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces "
    "( ), colon(:) and slashes (/)."
)
AS_FILE = (
    "Names may be treated as files in certain cases, and must not resolve to other names when treated as such."
    " This name would resolve to {0!r}"
)


def check_key(key: str, name: str = "key", *, about: str = "key") -> None:
    """Raise Invalid for what is no key. `name`: of the parameter; `about`: what the text about its length calls it."""
    if not PLAIN.fullmatch(key):
        check_letters(key, name)
    if len(key) > KEY_LIMIT:
        raise build_length_error(about, KEY_LIMIT, field=name)


def check_letters(key: str, name: str) -> None:
    quoted = json.dumps(key[: KEY_LIMIT + 1], ensure_ascii=False)
    if not KEY.fullmatch(key) or "\x00" in key:
        raise Invalid(
            "Invalid value {told} for parameter '{name}' supplied: {letters}",
            told=quoted,
            name=name,
            letters=LETTERS,
            field=name,
        )
    meant = posixpath.normpath(key)
    if meant != key or meant == "." or meant.startswith(("..", "/")):
        raise Invalid(
            "Invalid value {told} for parameter '{name}' supplied: {format}",
            told=quoted,
            name=name,
            format=AS_FILE.format(meant[: KEY_LIMIT + 1]),
            field=name,
        )


def check_length(value: str, name: str, limit: int) -> None:
    if len(value) > limit:
        raise build_length_error(name, limit, field=name)


def build_length_error(about: str, limit: int, *, field: str) -> Invalid:
    return Invalid(
        "'{about}' exceeds the maximum length of {most} characters", about=about, most=limit, field=field, limit=limit
    )
