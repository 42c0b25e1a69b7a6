"""Devices, groups of them, enrolment tokens and assignments, for people and their programs."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import Invalid
from apps.core.request_values import MAX_INT64, parse_int
from apps.fleet.devices import queries, services
from apps.fleet.devices.models import Assignment, Device, DeviceGroup, EnrolmentToken
from apps.fleet.devices.schemas import (
    AssignBody,
    DeviceBody,
    DeviceChanges,
    DeviceGroupBody,
    DeviceGroupChanges,
    EnrolmentTokenBody,
)
from apps.fleet.devices.serializers import (
    AssignmentDetailSerializer,
    AssignmentSerializer,
    DeviceCountsSerializer,
    DeviceGroupSerializer,
    DeviceSerializer,
    EnrolmentTokenSerializer,
    NewEnrolmentTokenSerializer,
    RegisteredDeviceSerializer,
)
from apps.fleet.releases.queries import get_release
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.serializers import ReasonBody, read_body

EVENTS_SHOWN = 1_100  # every one that is kept: 1,000 reports, and what the plane adds
CREATED = status.HTTP_201_CREATED


def render_device(where: Project, device: Device) -> dict[str, Any]:
    return dict(DeviceSerializer(device, context={"project": where.slug}).data)


def render_assignment(request: Request, where: Project, pk: int) -> dict[str, Any]:
    assignment = queries.get_assignment(request.actor, where, pk)
    context = {"project": where.slug, "events": assignment.events.order_by("pk")[:EVENTS_SHOWN]}
    return dict(AssignmentDetailSerializer(assignment, context=context).data)


# -- devices --------------------------------------------------------------------------------------------------------
class DeviceList(GenericAPIView[Device]):
    serializer_class = DeviceSerializer
    queryset = Device.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="devices_list",
        parameters=[
            OpenApiParameter("query", str, description="For instance: tag.site = 'berlin' AND state = 'active'."),
            OpenApiParameter("seen", str, enum=list(queries.SEEN), description="Three missed polls are offline."),
            OpenApiParameter("running", int, description="Id of a release that a receipt vouches for."),
            OpenApiParameter("mismatch", bool, description="Those that say they run what no receipt vouches for."),
            *(OpenApiParameter(name, str, description="Only these.") for name in queries.PLAIN_FILTERS),
        ],
        responses=DeviceSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        """The devices that fit, newest first."""
        where = get_project(request.actor, project)
        filters = {name: request.query_params.get(name, "") for name in queries.FILTERS}
        rows = queries.list_devices(request.actor, where, filters).prefetch_related("labels")
        page = self.paginate_queryset(rows) or []
        return self.get_paginated_response(DeviceSerializer(page, many=True, context={"project": where.slug}).data)

    @extend_schema(operation_id="devices_register", request=DeviceBody, responses={201: RegisteredDeviceSerializer})
    def post(self, request: Request, project: str) -> Response:
        """Make a device of a stock hawkBit client by hand. Agents enrol by themselves, with an enrolment token."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "device.register", where)
        body = read_body(DeviceBody, request.data)
        device, secret = services.register_device(actor=request.actor, project=where, body=body)
        answer = render_device(where, queries.get_device(request.actor, where, device.pk))
        return Response({"device": answer, "token": secret}, CREATED, headers={"Location": answer["links"]["self"]})


class DeviceCounts(APIView):
    @extend_schema(operation_id="devices_counts", responses=DeviceCountsSerializer)
    def get(self, request: Request, project: str) -> Response:
        """How many devices are in each state and run each release; it costs the same for any number of devices."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "device.view", where)
        return Response({"states": queries.count_by_state(where), "running": queries.count_by_release(where)})


class DeviceDetail(APIView):
    @extend_schema(operation_id="devices_retrieve", responses=DeviceSerializer)
    def get(self, request: Request, project: str, device: int) -> Response:
        """One device: what it runs by receipt, and what it says of itself."""
        where = get_project(request.actor, project)
        return Response(render_device(where, queries.get_device(request.actor, where, device)))

    @extend_schema(operation_id="devices_update", request=DeviceChanges, responses=DeviceSerializer)
    def patch(self, request: Request, project: str, device: int) -> Response:
        """Change tags, attributes, note, architecture or sampling; what is left out stays."""
        where = get_project(request.actor, project)
        row = queries.get_device(request.actor, where, device)
        policy.require(request.actor, "device.change", row)
        services.change_device(actor=request.actor, device=row, changes=read_body(DeviceChanges, request.data))
        return Response(render_device(where, queries.get_device(request.actor, where, device)))


class DeviceTurn(APIView):
    """Base of the three that move a device to another state."""

    action = ""

    def turn(self, request: Request, project: str, device: int, move: Any) -> Response:
        where = get_project(request.actor, project)
        row = queries.get_device(request.actor, where, device)
        policy.require(request.actor, self.action, row)
        move(actor=request.actor, device=row, reason=read_body(ReasonBody, request.data).reason)
        return Response(render_device(where, queries.get_device(request.actor, where, device)))


class DeviceQuarantine(DeviceTurn):
    action = "device.quarantine"

    @extend_schema(operation_id="devices_quarantine", request=ReasonBody, responses=DeviceSerializer)
    def post(self, request: Request, project: str, device: int) -> Response:
        """Give it nothing more and take its open assignment back; it may go on reporting. Needs a reason."""
        return self.turn(request, project, device, services.quarantine_device)


class DeviceReinstate(DeviceTurn):
    action = "device.reinstate"

    @extend_schema(operation_id="devices_reinstate", request=ReasonBody, responses=DeviceSerializer)
    def post(self, request: Request, project: str, device: int) -> Response:
        """End its quarantine. It takes an approver and a reason."""
        return self.turn(request, project, device, services.reinstate_device)


class DeviceRevoke(DeviceTurn):
    action = "device.revoke"

    @extend_schema(operation_id="devices_revoke", request=ReasonBody, responses=DeviceSerializer)
    def post(self, request: Request, project: str, device: int) -> Response:
        """Let its token open nothing, for good. Needs a reason."""
        return self.turn(request, project, device, services.revoke_device)


# -- assignments ----------------------------------------------------------------------------------------------------
class AssignmentPages(GenericAPIView[Assignment]):
    serializer_class = AssignmentSerializer
    queryset = Assignment.objects.none()  # for the schema alone
    page_order = ("-id",)

    def render_page(self, request: Request, where: Project, **narrow: Any) -> Response:
        filters: dict[str, Any] = {name: parse_key(request, name) for name in ("device", "release")}
        filters |= {"state": request.query_params.get("state", ""), **narrow}
        page = self.paginate_queryset(queries.list_assignments(request.actor, where, **filters)) or []
        return self.get_paginated_response(AssignmentSerializer(page, many=True, context={"project": where.slug}).data)


class DeviceAssignments(AssignmentPages):
    @extend_schema(
        operation_id="device_assignments_list",
        parameters=[OpenApiParameter("state", str, description="Only these.")],
        responses=AssignmentSerializer(many=True),
    )
    def get(self, request: Request, project: str, device: int) -> Response:
        """The assignments of a device, newest first."""
        where = get_project(request.actor, project)
        row = queries.get_device(request.actor, where, device)
        return self.render_page(request, where, device=row.pk)

    @extend_schema(
        operation_id="device_assignments_create", request=AssignBody, responses={201: AssignmentDetailSerializer}
    )
    def post(self, request: Request, project: str, device: int) -> Response:
        """Let the device install a release. What is open is superseded; the new one may wait for its end."""
        where = get_project(request.actor, project)
        row = queries.get_device(request.actor, where, device)
        policy.require(request.actor, "device.assign", row)
        body = read_body(AssignBody, request.data)
        assignment = services.assign_release(
            actor=request.actor,
            device=row,
            release=get_release(request.actor, where, body.release),
            deadline_seconds=body.deadline_seconds,
            reason=body.reason,
        )
        answer = render_assignment(request, where, assignment.pk)
        return Response(answer, CREATED, headers={"Location": answer["links"]["self"]})


class AssignmentList(AssignmentPages):
    @extend_schema(
        operation_id="assignments_list",
        parameters=[
            OpenApiParameter("state", str, description="Only these."),
            OpenApiParameter("device", int, description="Of this device."),
            OpenApiParameter("release", int, description="Of this release."),
        ],
        responses=AssignmentSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        """The assignments of the project, newest first."""
        return self.render_page(request, get_project(request.actor, project))


class AssignmentDetail(APIView):
    @extend_schema(operation_id="assignments_retrieve", responses=AssignmentDetailSerializer)
    def get(self, request: Request, project: str, assignment: int) -> Response:
        """One assignment with what the device has reported of it, and its receipt."""
        return Response(render_assignment(request, get_project(request.actor, project), assignment))


class AssignmentCancel(APIView):
    @extend_schema(operation_id="assignments_cancel", request=ReasonBody, responses=AssignmentDetailSerializer)
    def post(self, request: Request, project: str, assignment: int) -> Response:
        """Take it back; a device that was told of it stops when it polls next."""
        where = get_project(request.actor, project)
        row = queries.get_assignment(request.actor, where, assignment)
        policy.require(request.actor, "device.cancel_assignment", row)
        reason = read_body(ReasonBody, request.data).reason
        services.cancel_assignment(actor=request.actor, assignment=row, reason=reason)
        return Response(render_assignment(request, where, assignment))


# -- groups ---------------------------------------------------------------------------------------------------------
class DeviceGroupList(GenericAPIView[DeviceGroup]):
    serializer_class = DeviceGroupSerializer
    queryset = DeviceGroup.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="device_groups_list", responses=DeviceGroupSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The groups, newest first. Their devices: `GET .../devices?group=NAME`."""
        where = get_project(request.actor, project)
        page = self.paginate_queryset(queries.list_groups(request.actor, where)) or []
        return self.get_paginated_response(DeviceGroupSerializer(page, many=True).data)

    @extend_schema(operation_id="device_groups_create", request=DeviceGroupBody, responses={201: DeviceGroupSerializer})
    def post(self, request: Request, project: str) -> Response:
        """Save a query under a name."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "device.save_group", where)
        body = read_body(DeviceGroupBody, request.data)
        group = services.create_group(actor=request.actor, project=where, body=body)
        return Response(DeviceGroupSerializer(group).data, CREATED)


class DeviceGroupDetail(APIView):
    @extend_schema(operation_id="device_groups_retrieve", responses=DeviceGroupSerializer)
    def get(self, request: Request, project: str, group: str) -> Response:
        where = get_project(request.actor, project)
        return Response(DeviceGroupSerializer(queries.get_group(request.actor, where, group)).data)

    @extend_schema(operation_id="device_groups_update", request=DeviceGroupChanges, responses=DeviceGroupSerializer)
    def patch(self, request: Request, project: str, group: str) -> Response:
        """Change its query or description; what is left out stays."""
        where = get_project(request.actor, project)
        row = queries.get_group(request.actor, where, group)
        policy.require(request.actor, "device.save_group", row)
        changes = read_body(DeviceGroupChanges, request.data)
        return Response(
            DeviceGroupSerializer(services.update_group(actor=request.actor, group=row, changes=changes)).data
        )

    @extend_schema(operation_id="device_groups_delete", responses={204: None})
    def delete(self, request: Request, project: str, group: str) -> Response:
        """Forget the query; devices stay as they are."""
        where = get_project(request.actor, project)
        services.delete_group(actor=request.actor, group=queries.get_group(request.actor, where, group))
        return Response(status=status.HTTP_204_NO_CONTENT)


# -- enrolment tokens -----------------------------------------------------------------------------------------------
class EnrolmentTokenList(GenericAPIView[EnrolmentToken]):
    serializer_class = EnrolmentTokenSerializer
    queryset = EnrolmentToken.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="enrolment_tokens_list", responses=EnrolmentTokenSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The tokens that let devices in, newest first, without their secrets."""
        where = get_project(request.actor, project)
        page = self.paginate_queryset(queries.list_enrolment_tokens(request.actor, where)) or []
        return self.get_paginated_response(EnrolmentTokenSerializer(page, many=True).data)

    @extend_schema(
        operation_id="enrolment_tokens_create",
        request=EnrolmentTokenBody,
        responses={201: NewEnrolmentTokenSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        """Make a token for one device, or a gateway's for several. Its secret is shown once."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "device.create_enrolment_token", where)
        body = read_body(EnrolmentTokenBody, request.data)
        token, secret = services.create_enrolment_token(actor=request.actor, project=where, body=body)
        return Response(NewEnrolmentTokenSerializer(token, context={"secret": secret}).data, CREATED)


class EnrolmentTokenRevoke(APIView):
    @extend_schema(operation_id="enrolment_tokens_revoke", request=ReasonBody, responses=EnrolmentTokenSerializer)
    def post(self, request: Request, project: str, token: int) -> Response:
        """Let nothing more in by it; devices that it let in stay."""
        where = get_project(request.actor, project)
        row = queries.get_enrolment_token(request.actor, where, token)
        policy.require(request.actor, "device.revoke_enrolment_token", row)
        reason = read_body(ReasonBody, request.data).reason
        return Response(
            EnrolmentTokenSerializer(
                services.revoke_enrolment_token(actor=request.actor, token=row, reason=reason)
            ).data
        )


def parse_key(request: Request, name: str) -> int | None:
    """The id in a filter; None where there is none. Raises Invalid."""
    text = request.query_params.get(name, "")
    if not text:
        return None
    number = parse_int(text, 1, MAX_INT64)
    if number is None:
        raise Invalid("{text!r} is no {name}.", text=text[:40], name=name, field=name, limit="its id, a number")
    return number
