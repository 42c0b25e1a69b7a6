"""What agents ask, below /api/v1/agent: a device sends its own token, and sees and changes what is its own alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.errors import NotFound
from apps.core.request_values import MAX_INT32, parse_int
from apps.fleet.devices import services
from apps.fleet.devices.agent_serializers import (
    EnrolledSerializer,
    HeartbeatAnswerSerializer,
    KeyListsSerializer,
    PollSerializer,
    ReceiptAnswerSerializer,
    StatusAnswerSerializer,
)
from apps.fleet.devices.authentication import (
    DeviceAuthentication,
    count_refusal,
    find_enrolment_token,
    limit_reports,
)
from apps.fleet.devices.errors import EnrolmentRefused
from apps.fleet.devices.models import Device
from apps.fleet.devices.polling import answer_poll
from apps.fleet.devices.queries import find_release_file, get_own_assignment, get_poll_seconds
from apps.fleet.devices.schemas import (
    DeviceLabelBatch,
    DevicePredictionBatch,
    EnrolBody,
    HeartbeatBody,
    ReceiptBody,
    StatusBody,
)
from apps.fleet.releases.queries import get_key_lists
from apps.ml.observations.serializers import BatchResultSerializer
from apps.ml.observations.services import record_labels, record_predictions
from apps.platform.accounts.actors import get_client_address
from apps.platform.artifacts.downloads import download
from apps.platform.artifacts.models import Holding
from apps.platform.artifacts.verification import release_connection
from apps.platform.jobs.serializers import read_body
from deepseek.messages import N_

DOWNLOAD_HEADERS = [
    OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="One range, `bytes=0-1023`."),
    OpenApiParameter("If-Range", str, OpenApiParameter.HEADER, description="The ETag that the range belongs to."),
    OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="304 when the ETag is among these."),
]


class AgentView(APIView):
    """A view for devices: `self.device` is the one that asks."""

    authentication_classes = (DeviceAuthentication,)

    @property
    def device(self) -> Device:
        device = self.request.user
        assert isinstance(device, Device)  # noqa: S101 - what the authentication gives
        return device


class AgentEnrol(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(operation_id="agent_enrol", request=EnrolBody, responses={201: EnrolledSerializer}, auth=[])
    def post(self, request: Request) -> Response:
        """Become a device of the project that the enrolment token is of. The device's own token is shown once."""
        data = request.data if isinstance(request.data, dict) else {}
        token, actor = find_enrolment_token(request._request, data.get("token"))
        body = read_body(EnrolBody, data)
        try:
            device, secret = services.enrol_device(actor=actor, token=token, body=body)
        except EnrolmentRefused:
            count_refusal(request._request)
            raise
        answer = {
            "device": str(device.pk),
            "project": device.project.slug,
            "token": secret,
            "poll_seconds": get_poll_seconds(),
            "release_keys": get_key_lists(is_paged=True),
        }
        return Response(EnrolledSerializer(answer).data, status=status.HTTP_201_CREATED)


class AgentPoll(AgentView):
    @extend_schema(
        operation_id="agent_poll",
        parameters=[OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="304 if unchanged.")],
        responses={200: PollSerializer, 304: None},
    )
    def get(self, request: Request) -> Response:
        """What there is to do. The plane serves this address without Django's middleware; see docs/devices.md."""
        sent = request._request
        answer = answer_poll(
            sent.headers.get("Authorization", ""),
            sent.headers.get("If-None-Match", ""),
            address=get_client_address(sent),
            request_id=getattr(sent, "request_id", ""),
        )
        headers = {"ETag": answer.etag, "Cache-Control": "no-cache"}
        if answer.document is None:
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers=headers)
        return Response(answer.document, headers=headers)


class AgentKeys(AgentView):
    @extend_schema(
        operation_id="agent_keys",
        parameters=[OpenApiParameter("from", int, description="Only versions above this one.")],
        responses=KeyListsSerializer,
    )
    def get(self, request: Request) -> Response:
        """The lists of the keys that sign releases, each signed by a key of the one before. An answer holds about 1 MB:
        where its last list is below `version`, ask again from there."""
        since = parse_int(request.query_params.get("from") or "0", 0, MAX_INT32) or 0
        return Response(get_key_lists(since=since, is_paged=True))


class AgentFile(AgentView):
    @extend_schema(
        operation_id="agent_file",
        parameters=DOWNLOAD_HEADERS,
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiTypes.BINARY,
            304: None,
        },
    )
    def get(self, request: Request, digest: str) -> HttpResponseBase:
        """A file of the release that the device is to install or runs, whole or a range of it."""
        file = find_release_file(self.device, digest)
        if file is None:
            raise NotFound("No release of this device has such a file.", field="sha256", hint=N_("Poll."))
        release_connection()
        holding = Holding(artifact=file.artifact, name=file.name, media_type="application/octet-stream")
        return download(request._request, holding)


class AgentStatus(AgentView):
    @extend_schema(operation_id="agent_status", request=StatusBody, responses=StatusAnswerSerializer)
    def post(self, request: Request, assignment: str) -> Response:
        """How far an assignment has come. `failed`, `rolled_back` and `cancelled` end it; success takes a receipt."""
        row = get_own_assignment(self.device, assignment)
        body = read_body(StatusBody, request.data)
        row = services.record_status(actor=request.actor, device=self.device, assignment=row, body=body)
        return Response({"state": row.state})


class AgentReceipts(AgentView):
    @extend_schema(operation_id="agent_receipt", request=ReceiptBody, responses=ReceiptAnswerSerializer)
    def post(self, request: Request) -> Response:
        """The signed receipt of the release that runs: only this makes an assignment succeed."""
        limit_reports(request._request, self.device, "receipt")
        body = read_body(ReceiptBody, request.data)
        device = services.record_receipt(actor=request.actor, device=self.device, document=body.envelope)
        return Response({"counter": device.receipt_counter})


class AgentHeartbeat(AgentView):
    @extend_schema(operation_id="agent_heartbeat", request=HeartbeatBody, responses=HeartbeatAnswerSerializer)
    def post(self, request: Request) -> Response:
        """What the device says of itself; it is shown and decides nothing. The answer has the plane's time."""
        limit_reports(request._request, self.device, "heartbeat")
        body = read_body(HeartbeatBody, request.data)
        now = services.record_heartbeat(actor=request.actor, device=self.device, body=body)
        return Response({"now": now.isoformat()})


class AgentPredictions(AgentView):
    @extend_schema(
        operation_id="agent_predictions",
        request=DevicePredictionBatch,
        responses=OpenApiResponse(BatchResultSerializer, "What became of the rows."),
    )
    def post(self, request: Request) -> Response:
        """Predictions that the device has answered: observations of its own source."""
        data = request.data  # parses it, and keeps its text
        rows = read_body(DevicePredictionBatch, data, getattr(request, "json_text", b"")).rows
        return self.send(request, record_predictions, rows)

    def send(self, request: Request, write: Any, rows: Any) -> Response:
        source = services.ensure_source(actor=request.actor, device=self.device)
        return Response(asdict(write(actor=request.actor, source=source, rows=rows)))


class AgentLabels(AgentPredictions):
    @extend_schema(
        operation_id="agent_labels",
        request=DeviceLabelBatch,
        responses=OpenApiResponse(BatchResultSerializer, "What became of the rows."),
    )
    def post(self, request: Request) -> Response:
        """What turned out to be right of the device's predictions."""
        data = request.data  # parses it, and keeps its text
        rows = read_body(DeviceLabelBatch, data, getattr(request, "json_text", b"")).rows
        return self.send(request, record_labels, rows)
