"""Rollouts for programs: plan, ask for approval, start, look at, stop, roll back."""

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
from apps.core.request_values import parse_int
from apps.fleet.rollouts import queries, services
from apps.fleet.rollouts.models import Look, Rollout, RolloutDevice
from apps.fleet.rollouts.schemas import ApprovalRequestBody, RetryBody, RolloutBody
from apps.fleet.rollouts.serializers import (
    LookSerializer,
    RetriedSerializer,
    RolloutDetailSerializer,
    RolloutDeviceSerializer,
    RolloutPreviewSerializer,
    RolloutSerializer,
)
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.serializers import ReasonBody, read_body

FILTERS = [OpenApiParameter(name, str, description="Only these.") for name in queries.FILTERS]
WAVE = OpenApiParameter("wave", int, description="Position of a wave, from 0.")


def get_project_rollout(request: Request, project: str, pk: int) -> tuple[Project, Rollout]:
    where = get_project(request.actor, project)
    return where, queries.get_rollout(request.actor, where, pk)


def render_rollout(request: Request, where: Project, pk: int) -> Response:
    rollout = queries.get_rollout(request.actor, where, pk)
    return Response(RolloutDetailSerializer(rollout, context={"project": where.slug}).data)


def parse_wave(request: Request) -> int | None:
    text = request.query_params.get("wave", "")
    number = parse_int(text, 0, 1000) if text else None
    if text and number is None:
        raise Invalid("wave is {text!r}.", text=text[:20], field="wave", limit="a position, from 0")
    return number


class RolloutList(GenericAPIView[Rollout]):
    serializer_class = RolloutSerializer
    queryset = Rollout.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="rollouts_list", parameters=FILTERS, responses=RolloutSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The rollouts of the project, newest first."""
        where = get_project(request.actor, project)
        filters = {name: request.query_params.get(name, "") for name in queries.FILTERS}
        rows = self.paginate_queryset(queries.list_rollouts(request.actor, where, **filters)) or []
        return self.get_paginated_response(RolloutSerializer(rows, many=True, context={"project": where.slug}).data)

    @extend_schema(operation_id="rollouts_create", request=RolloutBody, responses={201: RolloutDetailSerializer})
    def post(self, request: Request, project: str) -> Response:
        """Plan a rollout: nothing happens to a device before it is approved and started."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "rollout.create", where)  # before the body: who may not, learns nothing of it
        body = read_body(RolloutBody, request.data)
        rollout = services.create_rollout(actor=request.actor, project=where, body=body)
        answer = render_rollout(request, where, rollout.pk)
        answer.status_code = status.HTTP_201_CREATED
        answer["Location"] = answer.data["links"]["self"]
        return answer


class RolloutDetail(APIView):
    @extend_schema(operation_id="rollouts_retrieve", responses=RolloutDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One rollout: its plan, its waves with counts and verdicts, and what decides next."""
        return render_rollout(request, get_project(request.actor, project), pk)


class RolloutPreview(APIView):
    @extend_schema(operation_id="rollouts_preview", responses=RolloutPreviewSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The blast radius: devices by wave, stratum, architecture and previous release; of a draft as of now."""
        _where, rollout = get_project_rollout(request, project, pk)
        return Response(RolloutPreviewSerializer(queries.get_preview(request.actor, rollout)).data)


class RolloutDevices(GenericAPIView[RolloutDevice]):
    serializer_class = RolloutDeviceSerializer
    queryset = RolloutDevice.objects.none()  # for the schema alone
    page_order = ("id",)

    @extend_schema(
        operation_id="rollouts_devices",
        parameters=[
            OpenApiParameter("stage", str, description="Only these."),
            OpenApiParameter("code", str, description="Only those that failed with it."),
            WAVE,
        ],
        responses=RolloutDeviceSerializer(many=True),
    )
    def get(self, request: Request, project: str, pk: int) -> Response:
        """Each device's place: wave, stratum, stage, and why it failed."""
        _where, rollout = get_project_rollout(request, project, pk)
        filters: dict[str, Any] = {name: request.query_params.get(name, "") for name in ("stage", "code")}
        rows = queries.list_members(request.actor, rollout, wave=parse_wave(request), **filters)
        return self.get_paginated_response(RolloutDeviceSerializer(self.paginate_queryset(rows) or [], many=True).data)


class RolloutEvidence(GenericAPIView[Look]):
    serializer_class = LookSerializer
    queryset = Look.objects.none()  # for the schema alone
    page_order = ("id",)

    @extend_schema(operation_id="rollouts_evidence", parameters=[WAVE], responses=LookSerializer(many=True))
    def get(self, request: Request, project: str, pk: int) -> Response:
        """Every look at the evidence with its verdict, oldest first."""
        _where, rollout = get_project_rollout(request, project, pk)
        rows = queries.list_looks(request.actor, rollout, wave=parse_wave(request)).order_by("id")
        return self.get_paginated_response(LookSerializer(self.paginate_queryset(rows) or [], many=True).data)


class RolloutRequestStart(APIView):
    @extend_schema(
        operation_id="rollouts_request_start", request=ApprovalRequestBody, responses=RolloutDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Plan the waves now, and ask the approvers for exactly this plan. Takes the scope models:write too."""
        where, rollout = get_project_rollout(request, project, pk)
        policy.require(request.actor, "rollout.request_start", rollout)
        comment = read_body(ApprovalRequestBody, request.data).comment
        services.request_start(actor=request.actor, rollout=rollout, comment=comment)
        return render_rollout(request, where, pk)


class RolloutRequestDecision(APIView):
    @extend_schema(
        operation_id="rollouts_request_decision", request=ApprovalRequestBody, responses=RolloutDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Ask the approvers to let a rollout that is on hold go on. Takes the scope models:write too."""
        where, rollout = get_project_rollout(request, project, pk)
        policy.require(request.actor, "rollout.request_decision", rollout)
        comment = read_body(ApprovalRequestBody, request.data).comment
        services.request_decision(actor=request.actor, rollout=rollout, comment=comment)
        return render_rollout(request, where, pk)


class RolloutStart(APIView):
    @extend_schema(operation_id="rollouts_start", request=None, responses=RolloutDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Begin the first wave of an approved rollout. 409 `approval_void` where a fact has changed since."""
        where, rollout = get_project_rollout(request, project, pk)
        services.start_rollout(actor=request.actor, rollout=rollout)
        return render_rollout(request, where, pk)


class RolloutTurn(APIView):
    """Base of the moves that take a reason."""

    action = ""

    def turn(self, request: Request, project: str, pk: int, move: Any) -> Response:
        where, rollout = get_project_rollout(request, project, pk)
        policy.require(request.actor, self.action, rollout)
        move(actor=request.actor, rollout=rollout, reason=read_body(ReasonBody, request.data).reason)
        return render_rollout(request, where, pk)


class RolloutPause(RolloutTurn):
    action = "rollout.pause"

    @extend_schema(operation_id="rollouts_pause", request=ReasonBody, responses=RolloutDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Assign nothing more for now; its gates go on. Needs a reason."""
        return self.turn(request, project, pk, services.pause_rollout)


class RolloutResume(RolloutTurn):
    action = "rollout.resume"

    @extend_schema(operation_id="rollouts_resume", request=ReasonBody, responses=RolloutDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """End a pause."""
        return self.turn(request, project, pk, services.resume_rollout)


class RolloutAbort(RolloutTurn):
    action = "rollout.abort"

    @extend_schema(operation_id="rollouts_abort", request=ReasonBody, responses=RolloutDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """End it: open assignments are taken back, devices that have the version keep it. Needs a reason."""
        return self.turn(request, project, pk, services.abort_rollout)


class RolloutRollBack(RolloutTurn):
    action = "rollout.roll_back"

    @extend_schema(operation_id="rollouts_roll_back", request=ReasonBody, responses=RolloutDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Let every device that has the version go back to what it ran before. Needs a reason, and no approval."""
        return self.turn(request, project, pk, services.roll_back)


class RolloutRetry(APIView):
    @extend_schema(operation_id="rollouts_retry", request=RetryBody, responses=RetriedSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Let devices that failed try again: those with one of the codes, or all."""
        _where, rollout = get_project_rollout(request, project, pk)
        policy.require(request.actor, "rollout.retry", rollout)
        body = read_body(RetryBody, request.data)
        count = services.retry_devices(actor=request.actor, rollout=rollout, codes=body.codes, reason=body.reason)
        return Response(RetriedSerializer({"devices": count}).data)
