"""Notices of a study: that it has ended, here or at a site, and that the approval of a site is void.

Of a site's approval request the approvers are told by the approvals themselves (apps/platform/approvals/notices.py).
"""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor, ProjectRole
from apps.ml.federation.models import SiteStudy, Study
from apps.ml.federation.states import SiteStudyState, StudyState
from apps.platform.accounts.models import Membership
from apps.platform.approvals.notices import list_requesters
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices
from apps.platform.notices.states import Channel
from deepseek.messages import Message

ENDED, SITE_ENDED, SITE_VOID = "study.ended", "site_study.ended", "site_study.void"
KINDS = {
    ENDED: NoticeKind(
        label=_("Federated study ended"),
        description=_("A study that this project coordinates is completed or stopped; for engineers and approvers."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
    SITE_ENDED: NoticeKind(
        label=_("Federated study ended at this site"),
        description=_("This site has completed a study or left it; for who asked to take part and who approved."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
    SITE_VOID: NoticeKind(
        label=_("Approval of a federated study void"),
        description=_("What was approved has changed, so nothing more leaves; for who asked and who approved."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
}


def notify_study_ended(study: Study, actor: Actor) -> None:
    """Tell the engineers and approvers of the coordinator, but not who stopped it; in the transaction of the move."""
    message = (
        Message("The federated study {name} is completed.", name=study.name)
        if study.state == StudyState.COMPLETED
        else Message("{who} stopped the federated study {name}.", who=actor.label, name=study.name)
    )
    people = Membership.objects.filter(
        project=study.project_id, role__in=(ProjectRole.ENGINEER, ProjectRole.APPROVER), user__isnull=False
    )
    queue_notices(
        kind=ENDED,
        message=message,
        path=reverse("federation:study", args=[study.project.slug, study.pk]),
        recipients=set(people.values_list("user_id", flat=True)) - {actor.user_id or 0},
        subject=study,
        project=study.project,
    )


def notify_site_ended(row: SiteStudy, actor: Actor) -> None:
    """Tell whoever asked to take part and whoever approved; in the transaction of the move."""
    name, site = row.name, row.site
    message = (
        Message("The site {site} has left the federated study {name}: {who}.", who=actor.label, name=name, site=site)
        if row.state == SiteStudyState.LEFT
        else Message("The site {site} has completed the federated study {name}.", name=name, site=site)
    )
    queue_for_site(SITE_ENDED, message, row, actor)


def notify_site_void(row: SiteStudy, actor: Actor) -> None:
    """Tell them that the approval is void; in the transaction of the move."""
    message = Message(
        "The approval of the site {site} in {name} is void: what it was for has changed.", name=row.name, site=row.site
    )
    queue_for_site(SITE_VOID, message, row, actor)


def queue_for_site(kind: str, message: Message, row: SiteStudy, actor: Actor) -> None:
    people: set[int] = set()
    if row.approval is not None:
        people = list_requesters(row.approval) | set(row.approval.votes.values_list("user_id", flat=True))
    path = reverse("federation:site_study", args=[row.project.slug, row.pk])
    recipients = people - {actor.user_id or 0}
    queue_notices(kind=kind, message=message, path=path, recipients=recipients, subject=row, project=row.project)
