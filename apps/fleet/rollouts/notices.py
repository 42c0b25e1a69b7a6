"""Who is notified of rollouts: whoever can decide what comes next."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from apps.core.actors import ProjectRole
from apps.fleet.rollouts.addresses import build_rollout_path
from apps.fleet.rollouts.models import Rollout
from apps.fleet.rollouts.states import RolloutState
from apps.platform.accounts.models import Membership
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices, settle_notices
from apps.platform.notices.states import Channel
from deepseek.messages import Message

HELD, ENDED = "rollout.held", "rollout.ended"
KINDS = {
    HELD: NoticeKind(
        label=_("Rollout on hold"),
        description=_("A gate could not decide, or a step needs a person; for engineers and approvers."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
    ENDED: NoticeKind(
        label=_("Rollout ended"),
        description=_("A rollout is completed, rolled back or being rolled back; for engineers and approvers."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
}
DECIDERS = (ProjectRole.ENGINEER, ProjectRole.APPROVER)


def notify_of_hold(rollout: Rollout, reason: str) -> None:
    """In the transaction that puts it on hold, or finds what keeps it from going on."""
    message = Message("{rollout} is on hold: {reason}", rollout=str(rollout), reason=reason)
    queue(rollout, HELD, message)


def notify_of_end(rollout: Rollout, reason: str = "") -> None:
    """In the transaction of the move; nobody needs to decide it any more."""
    settle_notices(kind=HELD, subject=rollout)
    name = str(rollout)
    if rollout.state == RolloutState.ROLLING_BACK:
        message = Message("{rollout} is rolled back: {reason}", rollout=name, reason=reason)
    elif rollout.state == RolloutState.ROLLED_BACK:
        message = Message("{rollout}: every device that could go back has gone back.", rollout=name)
    else:
        message = Message("{rollout} is completed.", rollout=name)
    queue(rollout, ENDED, message)


def queue(rollout: Rollout, kind: str, message: Message) -> None:
    people = Membership.objects.filter(project=rollout.project_id, role__in=DECIDERS, user__isnull=False)
    queue_notices(
        kind=kind,
        message=message,
        path=build_rollout_path(rollout),
        recipients=set(people.values_list("user_id", flat=True)),
        subject=rollout,
        project=rollout.project,
    )
