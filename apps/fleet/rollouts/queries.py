"""What pages, REST, recalls and the dispatcher read of rollouts. None counts devices: the counts stand in the waves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Prefetch, QuerySet

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.request_values import MAX_INT64, validate_choice
from apps.fleet.releases.architectures import TORCHLESS
from apps.fleet.rollouts.models import Look, Rollout, RolloutDevice, RolloutQuerySet, RolloutVariant, Wave
from apps.fleet.rollouts.planner import EMPTY_PREVIEW, summarize
from apps.fleet.rollouts.schemas import read_plan
from apps.fleet.rollouts.services.planning import compute_plan
from apps.fleet.rollouts.states import RolloutState, Stage, Verdict
from apps.ml.registry.models import ModelVersion, Variant
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from deepseek.messages import N_, Message

FILTERS = ("state", "model")
MAX_VERSIONS = 200  # to choose from
DEFAULT_POWER = 0.9  # of deepseek.canary's plan


def list_rollouts(actor: Actor, project: Project, *, state: str = "", model: str = "") -> RolloutQuerySet:
    """The rollouts of the project that fit, with their waves, to be paged by `-id`. Raises Invalid for a state that
    there is none of."""
    policy.require(actor, "rollout.view", project)
    validate_choice("state", state, RolloutState.values)
    narrow = {"state": state, "model_name": model}
    rows = Rollout.objects.visible_to(actor).filter(project=project)
    rows = rows.filter(**{field: value for field, value in narrow.items() if value})
    return rows.select_related("version__model", "approval", "decision").prefetch_related(
        Prefetch("waves", Wave.objects.order_by("position").defer("history"))
    )


def list_deployable_versions(actor: Actor, project: Project) -> list[ModelVersion]:
    """The newest versions that have a variant which a device serves without torch: what a rollout can be of."""
    policy.require(actor, "rollout.view", project)
    variants = Variant.objects.visible_to(actor).filter(version__model__project=project, format__in=TORCHLESS)
    versions = ModelVersion.objects.filter(pk__in=variants.values("version_id")).select_related("model")
    return list(versions.order_by("-pk")[:MAX_VERSIONS])


def get_rollout(actor: Actor, project: Project, pk: int) -> Rollout:
    """One rollout with its version, approvals, waves, variants and their releases; NotFound."""
    rows = list_rollouts(actor, project).select_related("project", "version__model__project", "version__run")
    variants = RolloutVariant.objects.select_related("variant__version", "release").order_by("architecture")
    rollout = (
        rows.prefetch_related(Prefetch("variants", variants)).filter(pk=pk).first() if 0 < pk <= MAX_INT64 else None
    )
    if rollout is None:
        raise NotFound("This project has no rollout {pk}.", pk=pk, field="rollout", hint=N_("List the rollouts."))
    return rollout


def get_preview(actor: Actor, rollout: Rollout) -> dict[str, Any]:
    """The blast radius (planner.summarize): of a draft as it would be planned now, else as it was approved."""
    policy.require(actor, "rollout.view", rollout)
    if rollout.state != RolloutState.DRAFT:
        return {**EMPTY_PREVIEW, **rollout.preview}  # one that was aborted as a draft has none
    fleet, selection = compute_plan(rollout)
    return summarize(fleet, read_plan(rollout.plan).waves, selection.excluded)


def list_members(
    actor: Actor, rollout: Rollout, *, stage: str = "", wave: int | None = None, code: str = ""
) -> QuerySet[RolloutDevice]:
    """The devices of a rollout that fit, to be paged by `id`. `wave`: its position, from 0."""
    policy.require(actor, "rollout.view", rollout)
    validate_choice("stage", stage, Stage.values)
    rows = RolloutDevice.objects.filter(rollout=rollout)
    narrow = {"stage": stage or None, "wave__position": wave, "code": code or None}
    rows = rows.filter(**{field: value for field, value in narrow.items() if value is not None})
    return rows.select_related("device", "wave", "previous__variant__version", "assignment")


def list_looks(actor: Actor, rollout: Rollout, *, wave: int | None = None) -> QuerySet[Look]:
    """The evidence of the gates, oldest first; of one wave by its position."""
    policy.require(actor, "rollout.view", rollout)
    rows = Look.objects.filter(wave__rollout=rollout)
    rows = rows if wave is None else rows.filter(wave__position=wave)
    return rows.select_related("wave").order_by("wave__position", "number")


def get_last_look(actor: Actor, rollout: Rollout, wave: Wave) -> Look | None:
    """The newest evidence of a wave: what its gate's picture is drawn of."""
    return list_looks(actor, rollout, wave=wave.position).order_by("-number").first()


def list_rollout_approvals(actor: Actor, rollout: Rollout) -> QuerySet[Approval]:
    """Every approval that was asked for this rollout, oldest first."""
    policy.require(actor, "approval.view", rollout)
    rows = Approval.objects.visible_to(actor).filter(project=rollout.project_id, subject_type="rollout")
    return rows.filter(subject_id=str(rollout.pk)).order_by("pk")


def count_devices(rollout: Rollout) -> dict[str, int]:
    """{stage: devices} of all waves, as of the dispatcher's last step; from the waves' rows alone."""
    counts: Counter[str] = Counter(dict.fromkeys(Stage.values, 0))
    for wave in rollout.waves.all():
        counts.update(wave.counts)
    return dict(counts)


def list_rollouts_of_version(actor: Actor, version: ModelVersion) -> RolloutQuerySet:
    """The rollouts that carry a model version, newest first: for recalls."""
    policy.require(actor, "rollout.view", version.model)
    return Rollout.objects.visible_to(actor).filter(version=version).order_by("-pk")


def list_devices_of_version(actor: Actor, version: ModelVersion) -> QuerySet[RolloutDevice]:
    """The devices to which a rollout has given the version."""
    policy.require(actor, "rollout.view", version.model)
    gave = (Stage.ASSIGNED, Stage.INSTALLED)
    return RolloutDevice.objects.filter(rollout__version=version, stage__in=gave).select_related("device")


@dataclass(frozen=True, slots=True)
class NextStep:
    """What decides next, in a sentence, and when at the latest; `at` None: whenever a person does."""

    message: Message
    at: datetime | None = None
    wave: int | None = None


def describe_next_step(rollout: Rollout) -> NextStep:
    """What the rollout waits for."""
    wave = next((row for row in rollout.waves.all() if row.position == rollout.position), None)
    match rollout.state:
        case RolloutState.DRAFT:
            return NextStep(Message("An engineer requests its approval."))
        case RolloutState.AWAITING_APPROVAL:
            return NextStep(Message("Approvers decide whether it starts."), deadline_of(rollout.approval))
        case RolloutState.APPROVED:
            schedule = read_plan(rollout.plan).schedule
            if not schedule.automatic:
                return NextStep(Message("An engineer starts it."))
            return NextStep(Message("The plane starts it."), schedule.start_at)
        case RolloutState.PAUSED:
            return NextStep(Message("Paused: an engineer resumes it. Gates may still roll it back."))
        case RolloutState.HELD:
            return NextStep(Message("A person rolls it back, aborts it, or asks the approvers to let it go on."))
        case RolloutState.AWAITING_DECISION:
            text = Message("Approvers decide on the evidence of the wave. Gates may still roll it back.")
            return NextStep(text, deadline_of(rollout.decision), wave.position if wave else None)
        case RolloutState.ROLLING_BACK:
            return NextStep(Message("Devices go back to their previous release."))
        case RolloutState.RUNNING if wave is not None:
            return describe_wave_step(wave)
    return NextStep(Message("Nothing: it has ended."))


def describe_wave_step(wave: Wave) -> NextStep:
    number = wave.position + 1
    if wave.verdict == Verdict.HOLD and wave.deadline_at is not None:
        text = Message("Wave {number}: the gate needs more evidence, until its deadline.", number=number)
        return NextStep(text, wave.deadline_at, wave.position)
    return NextStep(
        Message("Wave {number}: the next look of the gate.", number=number), wave.next_look_at, wave.position
    )


def deadline_of(approval: Approval | None) -> datetime | None:
    return approval.deadline_at if approval else None
