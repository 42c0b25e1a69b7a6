"""What is said of figures of predictions that somebody gave, wherever such figures stand."""

from __future__ import annotations

from django.utils.translation import gettext as _

from apps.ml.registry.models import Evaluation

IN_ENGLISH = "By predictions that {name} gave; the plane did not run the model."  # in records


def words_of(name: str) -> str:
    """The sentence beside figures of predictions that somebody of this name gave."""
    return _("By predictions that %(name)s gave; the plane did not run the model.") % {"name": name}


def words_of_two(candidate: str, baseline: str, against: int | None) -> str:
    """The same of the two sides that a gate compares: who gave the predictions of each, or "", and the number of the
    version that is the baseline."""
    other = f"v{against}{_(': ')}{words_of(baseline)}" if baseline else ""
    return " ".join(filter(None, (words_of(candidate) if candidate else "", other)))


def giver_of(one: Evaluation | None) -> str:
    return one.created_by if one is not None and one.by_predictions else ""


def sentence_of(one: Evaluation) -> str:
    """`words_of` for an evaluation; empty for one whose model the plane ran."""
    return words_of(one.created_by) if one.by_predictions else ""
