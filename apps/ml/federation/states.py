"""The states of a study, of its sites and of a study on a site's own plane, with every legal move."""

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class StudyState(models.TextChoices):
    DRAFT = "draft", pgettext_lazy("study", "Draft")
    OPEN = "open", pgettext_lazy("study", "Open to sites")  # the document is final: sites were invited
    RUNNING = "running", _("Running")
    COMPLETED = "completed", _("Completed")
    STOPPED = "stopped", _("Stopped")


STUDY_MOVES: dict[str, frozenset[str]] = {
    StudyState.DRAFT: frozenset({StudyState.OPEN, StudyState.STOPPED}),
    StudyState.OPEN: frozenset({StudyState.RUNNING, StudyState.STOPPED}),
    StudyState.RUNNING: frozenset({StudyState.COMPLETED, StudyState.STOPPED}),
    StudyState.COMPLETED: frozenset(),
    StudyState.STOPPED: frozenset(),
}
OPEN_STUDY = (StudyState.DRAFT, StudyState.OPEN, StudyState.RUNNING)
ENDED_STUDY = (StudyState.COMPLETED, StudyState.STOPPED)


class SiteState(models.TextChoices):
    INVITED = "invited", pgettext_lazy("site", "Invited")
    JOINED = "joined", pgettext_lazy("site", "Joined")  # its certificate is signed
    LEFT = "left", pgettext_lazy("site", "Left")


SITE_MOVES: dict[str, frozenset[str]] = {
    SiteState.INVITED: frozenset({SiteState.JOINED, SiteState.LEFT}),
    SiteState.JOINED: frozenset({SiteState.LEFT}),
    SiteState.LEFT: frozenset(),
}


class SiteStudyState(models.TextChoices):
    IMPORTED = "imported", pgettext_lazy("study of a site", "Imported")
    APPROVED = "approved", pgettext_lazy("study of a site", "Approved")
    RUNNING = "running", _("Running")
    COMPLETED = "completed", _("Completed")
    LEFT = "left", pgettext_lazy("study of a site", "Left")
    VOID = "void", pgettext_lazy("study of a site", "Approval void")  # a digest has moved since


SITE_STUDY_MOVES: dict[str, frozenset[str]] = {
    SiteStudyState.IMPORTED: frozenset({SiteStudyState.APPROVED, SiteStudyState.LEFT}),
    SiteStudyState.APPROVED: frozenset({SiteStudyState.RUNNING, SiteStudyState.VOID, SiteStudyState.LEFT}),
    # Void: a digest has moved before another attempt of its job. One that failed and is tried again stays running.
    SiteStudyState.RUNNING: frozenset({SiteStudyState.VOID, SiteStudyState.COMPLETED, SiteStudyState.LEFT}),
    SiteStudyState.COMPLETED: frozenset(),
    SiteStudyState.LEFT: frozenset(),
    SiteStudyState.VOID: frozenset({SiteStudyState.APPROVED, SiteStudyState.LEFT}),
}
ENDED_SITE_STUDY = (SiteStudyState.COMPLETED, SiteStudyState.LEFT)
