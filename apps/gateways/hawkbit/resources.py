"""The resources of the device API: what each address answers."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, HttpResponseBase

from apps.fleet.devices.models import Assignment
from apps.fleet.devices.queries import get_installed_assignment, get_offered_assignment, get_poll_seconds
from apps.fleet.devices.services import mark_fetched, note_poll, report_attributes
from apps.fleet.devices.states import AssignmentState, DeviceState
from apps.gateways.hawkbit import actions, offers, services
from apps.gateways.hawkbit.call import DdiCall
from apps.gateways.hawkbit.documents import build_artifact, build_base, build_cancel_action
from apps.gateways.hawkbit.feedback import Outcome, parse_config_data, parse_feedback, parse_installed
from apps.gateways.hawkbit.queries import are_attributes_wanted, read_attributes
from apps.gateways.hawkbit.responses import DdiError, absent_error, build_json_response
from apps.platform.artifacts.downloads import download
from apps.platform.artifacts.models import Holding

MD5SUM = ".MD5SUM"
MAX_HISTORY = 50  # messages of an action that are sent back


# -- polls ----------------------------------------------------------------------------------------------------------
def get_base(call: DdiCall) -> HttpResponse:
    """When to poll again, and what there is to do."""
    note_poll(call.device.pk)
    links: dict[str, str] = {}
    action = get_offered_assignment(call.device)
    if action is not None and actions.is_withdrawn(action):
        links["cancelAction"] = f"{call.root}/cancelAction/{action.pk}"
    elif action is not None and call.device.state == DeviceState.ACTIVE:
        offer = offers.find_offer(action.release, call.root)
        if offer is not None:
            links["deploymentBase"] = f"{call.root}/deploymentBase/{action.pk}?c={offers.build_version_tag(offer)}"
    if are_attributes_wanted(call.device):
        links["configData"] = f"{call.root}/configData"
    installed = get_installed_assignment(call.device)
    if installed is not None:
        links["installedBase"] = f"{call.root}/installedBase/{installed.pk}"
    return build_json_response(build_base(get_poll_seconds(), links))


# -- deployments ----------------------------------------------------------------------------------------------------
def get_deployment(call: DdiCall, number: str) -> HttpResponse:
    """The deployment of an action that is not taken back. From now on the device counts as told of it."""
    action = actions.get_action(call.device, number)
    if actions.is_withdrawn(action) or call.device.state != DeviceState.ACTIVE:
        raise absent_error(f"deployment {number}")
    document = build_document(call, action)
    if action.state == AssignmentState.ASSIGNED and not mark_fetched(action):
        raise absent_error(f"deployment {number}")  # it was taken back at this moment
    return build_json_response(document)


def post_deployment_feedback(call: DdiCall, number: str) -> HttpResponse:
    """What the device says of an action. It may close one that is being cancelled: then it had installed already."""
    feedback = parse_feedback(call.read_body())
    action = actions.get_open_action(call.device, number)
    outcome = feedback.on_deployment
    actions.apply_feedback(call.actor, action, feedback, outcome)
    if outcome is Outcome.SUCCEEDED:
        services.want_attributes(actor=call.actor, device=call.device)
    return build_json_response({})


def get_cancel_action(call: DdiCall, number: str) -> HttpResponse:
    action = actions.get_action(call.device, number)
    if not actions.is_withdrawn(action):
        raise absent_error(f"cancelling of {number}")
    return build_json_response(build_cancel_action(action.pk))


def post_cancel_feedback(call: DdiCall, number: str) -> HttpResponse:
    """Whether the device has stopped."""
    feedback = parse_feedback(call.read_body())
    action = actions.get_open_action(call.device, number)
    if action.state != AssignmentState.CANCELLING:
        raise DdiError(405, "not_cancelling", f"Action {number} is not being cancelled.")
    actions.apply_feedback(call.actor, action, feedback, feedback.on_cancel)
    return build_json_response({})


def get_installed(call: DdiCall, number: str) -> HttpResponse:
    """The deployment of the last action that succeeded, and of no other."""
    installed = get_installed_assignment(call.device)
    if installed is None or installed.pk != int(number) or call.device.state != DeviceState.ACTIVE:
        raise absent_error(f"installed deployment {number}")
    return build_json_response(build_document(call, installed))


def build_document(call: DdiCall, action: Assignment) -> dict[str, Any]:
    """The deployment of an action, with as many of its messages as the query wants."""
    offer = offers.find_offer(action.release, call.root)
    if offer is None:
        raise absent_error(f"deployment {action.pk} yet")  # its file is being read, or its release was revoked
    count = parse_history(call.request.GET.get("actionHistory", ""))
    messages = actions.list_messages(action, count) if count else None
    return offers.build_offer_document(action.pk, offer, messages, actions.describe_status(action))


def parse_history(text: str) -> int:
    """How many messages are wanted; -1 stands for all, and what is no number for none."""
    if text == "-1":
        return MAX_HISTORY
    return min(int(text), MAX_HISTORY) if text.isascii() and text.isdigit() and len(text) < 10 else 0


# -- what the device is ---------------------------------------------------------------------------------------------
def put_config_data(call: DdiCall) -> HttpResponse:
    data = parse_config_data(call.read_body())
    attributes = data.apply_to(read_attributes(call.device))
    report_attributes(actor=call.actor, device=call.device, attributes=attributes)
    services.settle_attributes(actor=call.actor, device=call.device)
    return build_json_response({})


def put_installed(call: DdiCall) -> HttpResponse:
    """What the device says that it has: 201 where that is news, as in hawkBit."""
    name, version = parse_installed(call.read_body())
    is_new = services.record_installed(actor=call.actor, device=call.device, name=name, version=version)
    return build_json_response({}, 201 if is_new else 200)


# -- files ----------------------------------------------------------------------------------------------------------
def list_artifacts(call: DdiCall, number: str) -> HttpResponse:
    return build_json_response([build_artifact(find_file(call, number)[1].file)])


def get_artifact(call: DdiCall, number: str, name: str) -> HttpResponseBase:
    """The bytes of a file, or of `<name>.MD5SUM` its MD5 as md5sum prints it."""
    action, offer = find_file(call, number)
    if name == offer.file.name + MD5SUM:
        return HttpResponse(f"{offer.file.md5}  {offer.file.name}", content_type="text/plain")
    if name != offer.file.name:
        raise absent_error(f"file {name[:100]!r}")
    if call.request.method == "GET" and "Range" not in call.request.headers:
        actions.record_download(call.actor, action, name)
    holding = Holding(project_id=call.device.project_id, artifact=offer.artifact, name=name)
    response = download(call.request, holding)
    if response.status_code == 416:
        # A client that resumes what it has whole may append the body to its file; so there is none.
        return HttpResponse(status=416, headers={"Content-Range": response.headers["Content-Range"]})
    return response


def find_file(call: DdiCall, number: str) -> tuple[Assignment, offers.Offer]:
    """The offer of a release that the device is to install, or has installed; any other is not there for it."""
    if call.device.state == DeviceState.ACTIVE:
        for action in (get_offered_assignment(call.device), get_installed_assignment(call.device)):
            if action is not None and action.release_id == int(number):
                offer = offers.find_offer(action.release, call.root)
                if offer is not None:
                    return action, offer
    raise absent_error(f"software module {number}")
