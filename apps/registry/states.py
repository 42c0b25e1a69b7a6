"""How an alias may move, and which aliases are protected. A version has no state: `production` is an alias."""

from django.db import models
from django.utils.translation import gettext_lazy as _

PRODUCTION = "production"
SUBJECT = "promotion"  # the key in settings.APPROVAL_SUBJECTS
STAGES = ("None", "Staging", "Production", "Archived")  # MLflow's words of before there were aliases
APPROVED_STAGE = "Production"  # nobody says it by hand
PROTECTED = frozenset({PRODUCTION})  # moves only by an approval, or back to what one had put there


class MoveKind(models.TextChoices):
    PROMOTE = "promote", _("Promoted")  # approved
    ROLLBACK = "rollback", _("Rolled back")  # to the holder before
    SET = "set", _("Set")  # by hand; never a protected alias
