"""How an alias may move, which aliases are protected, what a gate says. A version has no state."""

from django.db import models
from django.utils.translation import gettext_lazy as _

PRODUCTION = "production"
SUBJECT = "promotion"  # the key in APPROVAL_SUBJECTS
STAGES = ("None", "Staging", "Production", "Archived")  # MLflow's words of before there were aliases
APPROVED_STAGE = "Production"  # nobody says it by hand
PROTECTED = frozenset({PRODUCTION})  # moves only by an approval, or back to what one had put there


class MoveKind(models.TextChoices):
    PROMOTE = "promote", _("Promoted")  # approved
    ROLLBACK = "rollback", _("Rolled back")  # to the holder before
    SET = "set", _("Set")  # by hand; never a protected alias


class GateState(models.TextChoices):
    PASS = "pass", _("Passed: not worse beyond the margin")
    FAIL = "fail", _("Failed: worse by more than the margin")
    NOT_SIGNIFICANT = "not_significant", _("Not significant: the interval includes the margin")
    NO_BASELINE = "no_baseline", _("Nothing to compare with: no version is in production")
    NOT_EVALUATED = "not_evaluated", _("The candidate was not evaluated on the set")
    BASELINE_NOT_EVALUATED = "baseline_not_evaluated", _("The baseline was not evaluated on the set")
    NOT_COMPARABLE = "not_comparable", _("The two were not measured on the same rows")
    NO_VARIANT = "no_variant", _("The version has no such form to evaluate")


LET_THROUGH = frozenset({GateState.PASS, GateState.NOT_SIGNIFICANT, GateState.NO_BASELINE})
GATE_COLOURS = {  # the state that a page colours; every other forbids
    GateState.PASS: "succeeded",
    GateState.NOT_SIGNIFICANT: "held",
    GateState.NO_BASELINE: "note",
}
