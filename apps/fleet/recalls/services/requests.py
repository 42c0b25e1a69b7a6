"""What people do: start a recall, and let it try again what has failed."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.db.models.functions import Now

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.fleet.recalls.carriers import find_carriers, list_release_ids
from apps.fleet.recalls.models import Recall
from apps.fleet.recalls.notices import notify_started
from apps.fleet.recalls.queries import count_running, find_ongoing
from apps.fleet.recalls.services.items import add_items, block_carrying_versions, get_newest_edge
from apps.fleet.recalls.states import DeviceOutcome, RecallState
from apps.fleet.recalls.subjects import Subject
from apps.fleet.releases.models import Release
from apps.fleet.releases.states import ReleaseState
from apps.ml.registry.blocks import find_blocked
from apps.ml.registry.services.validation import check_text
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.models import Project
from apps.platform.audit.services import change_state, record, seal_now
from deepseek.messages import N_, Message

REASON_LENGTH, NOTE_LENGTH = 400, 10_000


def start_recall(
    *,
    actor: Actor,
    project: Project,
    subject: Subject,
    reason: str,
    note: str = "",
    exact_only: bool = False,
    quarantine: bool = False,
) -> Recall:
    """Block every model version that carries the subject, at once, and let the dispatcher do the rest: revoke
    releases, roll aliases, endpoints and devices back. Nobody's approval is needed: only what was approved before comes
    into use.

    `exact_only`: leave alone what only may contain the row; `quarantine`: devices that have nothing to go back to.
    Raises Conflict `nothing_to_recall`, `already_recalled`.
    """
    policy.require(actor, "recall.start", project)
    require_confirmed(actor, "recall.start", project_id=project.pk)
    check_text("reason", reason, REASON_LENGTH, required=True)
    check_text("note", note, NOTE_LENGTH)
    edge = get_newest_edge()  # first: what is recorded meanwhile is looked for again
    carriers = find_carriers(actor, project, subject)
    versions = carriers.narrow(exact_only=exact_only)
    if not versions:
        raise Conflict(
            "No model version carries {subject}.",
            subject=subject.label,
            code="nothing_to_recall",
            field="id",
            limit="a subject that a model version was made from",
            hint=N_("Look at what is affected by it: GET .../recalls/preview."),
        )
    refuse_repeated(project, subject, versions)
    try:
        with transaction.atomic():
            recall = Recall.objects.create(
                project=project,
                subject_type=subject.type,
                subject_id=subject.id,
                subject_row=subject.row,
                subject_label=subject.label,
                reason=reason,
                note=note,
                exact_only=exact_only,
                quarantines=quarantine,
                newest_release=Release.objects.aggregate(newest=Max("pk"))["newest"] or 0,
                newest_edge=edge,
                started_by=actor.label[:200],
                started_by_user=actor.user_id,
            )
            record(
                actor=actor,
                action="recall.start",
                obj=recall,
                reason=reason,
                after={
                    "subject": {"type": subject.type, "id": subject.id, "row": subject.row},
                    "model_versions": sorted(versions),
                    "exact_only": exact_only,
                    "quarantine": quarantine,
                },
            )
            block_carrying_versions(actor, recall, carriers)
            add_items(recall)
            notify_started(recall, actor)
            seal_now()
    except IntegrityError:
        raise build_repeated_error(subject, find_ongoing(project, subject)) from None
    return recall


def refuse_repeated(project: Project, subject: Subject, versions: frozenset[int]) -> None:
    """Raise Conflict where a recall of the subject goes on, or where one has left nothing to do."""
    ongoing = find_ongoing(project, subject)
    if ongoing is not None:
        raise build_repeated_error(subject, ongoing)
    if find_blocked(versions) < versions:
        return
    releases = list_release_ids(versions)
    is_issued = Release.objects.filter(pk__in=releases, state=ReleaseState.ISSUED).exists()
    if is_issued or any(count_running(project, releases).values()):
        return
    last = Recall.objects.filter(project=project, subject_type=subject.type, subject_id=subject.id)
    if (done := last.filter(subject_row=subject.row).order_by("-pk").first()) is not None:
        raise build_repeated_error(subject, done)


def build_repeated_error(subject: Subject, recall: Recall | None) -> Conflict:
    return Conflict(
        "{subject} is recalled already, by recall {number}.",
        subject=subject.label,
        number=recall.pk if recall else 0,
        code="already_recalled",
        field="id",
        hint=Message("Look at recall {number}.", number=recall.pk if recall else 0),
    )


def retry_recall(*, actor: Actor, recall: Recall, reason: str = "") -> Recall:
    """Go on at once, and once more with the devices that did not go back or had nothing to go back to. Raises Conflict
    `recall_completed`."""
    policy.require(actor, "recall.retry", recall)
    check_text("reason", reason, REASON_LENGTH)
    if recall.state == RecallState.COMPLETED:
        raise Conflict(
            "The recall {number} is completed.",
            number=recall.pk,
            code="recall_completed",
            field="recall",
            hint=N_("Start another one if something carries it again."),
        )
    with transaction.atomic():
        again = recall.devices.filter(outcome__in=(DeviceOutcome.FAILED, DeviceOutcome.NO_PREVIOUS))
        count = again.update(outcome=DeviceOutcome.PENDING)
        if recall.state == RecallState.WATCHING:
            change_state(recall, RecallState.ACTING, actor=actor, reason=reason, failures=0, next_at=Now())
        else:
            Recall.objects.filter(pk=recall.pk, state=RecallState.ACTING).update(failures=0, next_at=Now())
        record(actor=actor, action="recall.retry", obj=recall, reason=reason, after={"devices": count})
    return recall
