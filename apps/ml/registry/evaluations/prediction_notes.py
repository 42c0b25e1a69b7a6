"""What is said of figures of predictions that somebody gave, wherever such figures stand."""

from __future__ import annotations

from django.utils.translation import gettext as _

from apps.ml.registry.models import Evaluation

IN_ENGLISH = "By predictions that {name} gave; the plane did not run the model."  # in records


def describe_predictions(name: str) -> str:
    """The sentence beside figures of predictions that somebody of this name gave."""
    return _("By predictions that %(name)s gave; the plane did not run the model.") % {"name": name}


def describe_compared_predictions(candidate: str, baseline: str, against: int | None) -> str:
    """The same of the two sides that a gate compares: who gave the predictions of each, or "", and the number of the
    version that is the baseline."""
    baseline_note = f"v{against}{_(': ')}{describe_predictions(baseline)}" if baseline else ""
    return " ".join(filter(None, (describe_predictions(candidate) if candidate else "", baseline_note)))


def get_prediction_giver(evaluation: Evaluation | None) -> str:
    return evaluation.created_by if evaluation is not None and evaluation.by_predictions else ""


def describe_evaluation_predictions(evaluation: Evaluation) -> str:
    """`words_of` for an evaluation; empty for one whose model the plane ran."""
    return describe_predictions(evaluation.created_by) if evaluation.by_predictions else ""
