"""What is said of figures of predictions that somebody gave, wherever such figures stand."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

from apps.registry.models import Evaluation

IN_ENGLISH = "By predictions that {name} gave; the plane did not run the model."  # in records


def words_of(name: str) -> str:
    """The sentence beside figures of predictions that somebody of this name gave."""
    return _("By predictions that %(name)s gave; the plane did not run the model.") % {"name": name}


def givers_of(evaluations: Iterable[Evaluation | None]) -> list[str]:
    """Who gave those of them that are of predictions, each once."""
    return list(dict.fromkeys(one.created_by for one in evaluations if one is not None and one.by_predictions))


def sentence_of(one: Evaluation) -> str:
    """`words_of` for an evaluation; empty for one whose model the plane ran."""
    return words_of(one.created_by) if one.by_predictions else ""
