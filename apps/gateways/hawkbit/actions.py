"""hawkBit's actions are assignments: which one a device works on, and what its feedback makes of it."""

from __future__ import annotations

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.fleet.devices.models import Assignment, Device
from apps.fleet.devices.schemas import MAX_MESSAGE, StatusBody
from apps.fleet.devices.services import record_status, record_unsigned_result, reject_cancellation
from apps.fleet.devices.states import OFFERED, AssignmentState
from apps.gateways.hawkbit.feedback import Feedback, Outcome
from apps.gateways.hawkbit.responses import DdiError, absent_error

FAILURE = "device_failure"  # the code of a failure to which the device gives no number
STEPS = {
    Outcome.DOWNLOADING: "downloading",
    Outcome.DOWNLOADED: "verifying",
    Outcome.RUNNING: "installing",
    Outcome.WARNING: "installing",
}
# hawkBit's word for the state of an action.
STATUSES = {
    AssignmentState.ASSIGNED: "RUNNING",
    AssignmentState.CANCELLING: "CANCELING",
    AssignmentState.SUCCEEDED: "FINISHED",
    AssignmentState.CANCELLED: "CANCELED",
    AssignmentState.SUPERSEDED: "CANCELED",
}


def get_action(device: Device, number: str) -> Assignment:
    """The action of this number that the device was told of, or is to be; DdiError 404 for others' and for none."""
    rows = device.assignments.exclude(state=AssignmentState.WAITING).select_related(
        "release__variant__version", "release__key"
    )
    action = rows.filter(pk=int(number)).first()
    if action is None:
        raise absent_error(f"action {number}")
    return action


def get_open_action(device: Device, number: str) -> Assignment:
    """The same; DdiError 410 for one that has ended."""
    action = get_action(device, number)
    if action.state not in OFFERED:
        raise closed_error(action)
    return action


def closed_error(action: Assignment) -> DdiError:
    return DdiError(410, "action_closed", f"Action {action.pk} has ended: {action.state}.")


def is_withdrawn(action: Assignment) -> bool:
    """Whether it is taken back, or about to be."""
    withdrawn = (AssignmentState.CANCELLING, AssignmentState.CANCELLED, AssignmentState.SUPERSEDED)
    return action.state in withdrawn


def apply_feedback(actor: Actor, action: Assignment, feedback: Feedback, outcome: Outcome) -> Assignment:
    """The action after what its device says of it; DdiError 410 where it ended meanwhile."""
    message = feedback.text[:MAX_MESSAGE]
    device = action.device
    try:
        match outcome:
            case Outcome.SUCCEEDED | Outcome.FAILED:
                succeeded = outcome is Outcome.SUCCEEDED
                return record_unsigned_result(
                    actor=actor,
                    device=device,
                    assignment=action,
                    succeeded=succeeded,
                    message=message,
                    code="" if succeeded else build_failure_code(feedback),
                )
            case Outcome.CANCEL_REJECTED:
                return reject_cancellation(actor=actor, device=device, assignment=action, reason=message)
            case Outcome.CANCELLED:
                body = StatusBody(step="cancelled", message=message)
            case _:
                # While it is being cancelled the step stays what it was: the device says only that it goes on.
                is_cancelling = action.state == AssignmentState.CANCELLING
                step = (action.step if is_cancelling else "") or STEPS[outcome]
                body = StatusBody.model_validate({"step": step, "message": message, "progress": feedback.progress})
        return record_status(actor=actor, device=device, assignment=action, body=body)
    except Conflict as conflict:
        if conflict.code != "assignment_closed":
            raise
        raise closed_error(get_action(device, str(action.pk))) from None


def build_failure_code(feedback: Feedback) -> str:
    return f"device_code_{feedback.code}" if feedback.code is not None and feedback.code >= 0 else FAILURE


def record_download(actor: Actor, action: Assignment, name: str) -> None:
    """Note that the device has begun to fetch the file, as hawkBit does: not every client says it."""
    if action.state == AssignmentState.ASSIGNED and action.step != "downloading":
        body = StatusBody(step="downloading", message=f"The device requests {name}.")
        record_status(actor=actor, device=action.device, assignment=action, body=body)


def list_messages(action: Assignment, count: int) -> list[str]:
    """What was reported of the action, the newest first."""
    events = action.events.order_by("-pk")[:count]
    return [f"{event.step}: {event.message}" if event.message else event.step for event in events]


def describe_status(action: Assignment) -> str:
    return STATUSES.get(AssignmentState(action.state), "ERROR")
