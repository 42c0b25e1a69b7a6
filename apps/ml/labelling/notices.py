"""Notices of what a person has to do: decide disputed tasks, see to the agreement or to what fails."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

from apps.core.actors import ProjectRole
from apps.ml.labelling.addresses import build_labelling_path
from apps.ml.labelling.models import LabellingProject
from apps.ml.labelling.states import LabellingState, TaskState
from apps.platform.accounts.models import Membership
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices, settle_notices
from apps.platform.notices.states import Channel
from deepseek.messages import Message

DISPUTED, BELOW_BAR, FAILING = "labelling.disputed", "labelling.below_bar", "labelling.failing"
KINDS = {
    DISPUTED: NoticeKind(
        label=_("Labelling: tasks wait for a decision"),
        description=_("Annotators disagree about tasks; for engineers and approvers."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
    BELOW_BAR: NoticeKind(
        label=_("Labelling: agreement below the bar"),
        description=_("Annotators agree less than a result needs; for engineers and approvers."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
    FAILING: NoticeKind(
        label=_("Labelling: synchronization fails"),
        description=_("A labelling project cannot go on; for engineers."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
}
RECIPIENTS = {
    DISPUTED: (ProjectRole.ENGINEER, ProjectRole.APPROVER),
    BELOW_BAR: (ProjectRole.ENGINEER, ProjectRole.APPROVER),
    FAILING: (ProjectRole.ENGINEER,),
}
PATIENCE = timedelta(minutes=5)  # a server that is restarted is nobody's task
MIN_TASKS = 10  # marked twice, before their agreement says something


def replace_notices(labelling: LabellingProject, now: datetime) -> list[str]:
    """Queue the notices of conditions that are new, settle those of conditions that ended; returns what stands now.

    In the transaction that locks the row and stores the answer as `notified`: each is sent once.
    """
    conditions = list_conditions(labelling, now)
    for kind in labelling.notified:
        if kind not in conditions:
            settle_notices(kind=kind, subject=labelling)
    for kind, message in conditions.items():
        if kind not in labelling.notified:
            people = Membership.objects.filter(
                project=labelling.project_id, role__in=RECIPIENTS[kind], user__isnull=False
            )
            queue_notices(
                kind=kind,
                message=message,
                path=build_labelling_path(labelling),
                recipients=set(people.values_list("user_id", flat=True)),
                subject=labelling,
                project=labelling.project,
            )
    return list(conditions)


def list_conditions(labelling: LabellingProject, now: datetime) -> dict[str, Message]:
    """{kind of notice: its message}, of what a person has to do now; nothing of a closed project."""
    if labelling.state == LabellingState.CLOSED:
        return {}
    conditions: dict[str, Message] = {}
    disputed = labelling.progress.get("tasks", {}).get(TaskState.DISPUTED, 0)
    if disputed:
        conditions[DISPUTED] = Message("Tasks of {name} wait for a decision: annotators disagree.", name=labelling.name)
    value = labelling.agreement_value
    if labelling.bar and value is not None and value < labelling.bar and has_enough_tasks(labelling):
        conditions[BELOW_BAR] = Message(
            "The agreement of {name} is {value:.3f}, and the bar is {bar}.",
            name=labelling.name,
            value=value,
            bar=labelling.bar,
        )
    is_late = labelling.failed_at is not None and labelling.failed_at <= now - PATIENCE
    if labelling.state == LabellingState.FAILED or (labelling.failure and is_late):
        conditions[FAILING] = Message("{name} cannot go on; its page says why.", name=labelling.name)
    return conditions


def has_enough_tasks(labelling: LabellingProject) -> bool:
    """Whether the agreement was measured on enough tasks, or on all there are."""
    counts = labelling.progress.get("tasks", {})
    return labelling.agreement.get("tasks", 0) >= MIN_TASKS or not counts.get(TaskState.OPEN, 0)
