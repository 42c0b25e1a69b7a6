"""Approvals for programs: list, read, vote, withdraw; and what a project asks of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import Invalid
from apps.core.lists.listing import build_day_parameters, filter_between_days
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.accounts.reauthentication import require_proof
from apps.platform.approvals import queries, services
from apps.platform.approvals.models import Approval
from apps.platform.approvals.serializers import (
    ApprovalAnswerBody,
    ApprovalAskBody,
    ApprovalDetailSerializer,
    ApprovalPoliciesSerializer,
    ApprovalPolicyBody,
    ApprovalPolicySerializer,
    ApprovalReasonBody,
    ApprovalSerializer,
    ApprovalVoteBody,
)
from apps.platform.approvals.states import ApprovalState
from apps.platform.approvals.subjects import get_subject_url

FILTERS = [
    OpenApiParameter("state", str, enum=[*ApprovalState.values, queries.DECIDED], description="Only these."),
    OpenApiParameter("mine", str, enum=["1"], description="Only those that wait for the caller's vote."),
    *build_day_parameters("asked"),
]


def get_project_approval(request: Request, project: str, pk: int) -> tuple[Project, Approval]:
    where = get_project(request.actor, project)
    return where, queries.get_approval(request.actor, where, pk)


def serialize_approval(request: Request, project: Project, approval: Approval) -> dict[str, Any]:
    """Everything of one approval; the facts as the value that they are."""
    links = {
        "self": reverse("api-approval", args=[project.slug, approval.pk]),
        "page": reverse("approvals:detail", args=[project.slug, approval.pk]),
        "subject": get_subject_url(approval),
    }
    body = {
        **ApprovalSerializer(approval).data,
        "facts": json.loads(approval.facts),
        "requester_people": queries.list_people_behind(approval),
        "votes": queries.list_votes(approval),
        "remarks": queries.list_remarks(approval),
        "changes": queries.get_standing(approval).changes,
        "void_changes": approval.void_changes,
        "waits_for_me": queries.query_waiting_for(request.actor).filter(pk=approval.pk).exists(),
        "links": links,
    }
    return dict(ApprovalDetailSerializer(body).data)  # type: ignore[arg-type]  # a row, and what belongs to it


class ApprovalList(GenericAPIView[Approval]):
    serializer_class = ApprovalSerializer
    queryset = Approval.objects.none()  # for the schema alone
    page_order: tuple[str, ...] = ("-id",)

    @extend_schema(operation_id="approvals_list", parameters=FILTERS, responses=ApprovalSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The approvals of the project, newest first."""
        where, params = get_project(request.actor, project), request.query_params
        if params.get("mine", "") not in ("", "0", "1"):
            raise Invalid("mine is {mine!r}.", mine=params["mine"][:40], field="mine", limit="1, or left out")
        rows = queries.list_approvals(
            request.actor, where, state=params.get("state", ""), mine=params.get("mine", "") == "1"
        )
        if params.get("asked_after") or params.get("asked_before"):
            self.page_order = ("-created_at", "-id")  # whose index holds these days in one piece
        page = self.paginate_queryset(filter_between_days(rows, "created_at", params, "asked"))
        return self.get_paginated_response(ApprovalSerializer(page, many=True).data)


class ApprovalDetail(APIView):
    @extend_schema(operation_id="approvals_retrieve", responses=ApprovalDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The facts with their digest, the votes, and what has changed since it was asked for."""
        return Response(serialize_approval(request, *get_project_approval(request, project, pk)))


class ApprovalApprove(APIView):
    @extend_schema(operation_id="approvals_approve", request=ApprovalVoteBody, responses=ApprovalDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Vote for it; the vote that is needed last carries it out.

        A person's own token with the scope `approvals:decide` is proof in itself that the person decides: who holds
        it, decides, so keep it like the password (it takes the scope `read` too). By session, send `password` again,
        and `code` where the person has a second factor. 409 `approval_void` when a fact has changed: the errors name
        each, and the approval has ended.
        """
        return submit_vote(request, project, pk, services.approve)


class ApprovalReject(APIView):
    @extend_schema(operation_id="approvals_reject", request=ApprovalVoteBody, responses=ApprovalDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Vote against it, which ends it at once. The proof is that of approving."""
        return submit_vote(request, project, pk, services.reject)


def submit_vote(request: Request, project: str, pk: int, vote: Callable[..., Approval]) -> Response:
    _where, approval = get_project_approval(request, project, pk)
    policy.require(request.actor, "approval.decide", approval)  # before the password is asked for
    require_confirmed(request.actor, "approval.decide", project_id=approval.project_id)
    body = parse_body(ApprovalVoteBody, request)
    proof = require_proof(request._request, request.actor, password=body.pop("password"), code=body.pop("code"))
    vote(actor=request.actor, approval=approval, proof=proof, **body)
    return Response(serialize_approval(request, *get_project_approval(request, project, pk)))


class ApprovalWithdraw(APIView):
    @extend_schema(operation_id="approvals_withdraw", request=ApprovalReasonBody, responses=ApprovalDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Take one's own request back."""
        _where, approval = get_project_approval(request, project, pk)
        policy.require(request.actor, "approval.withdraw", approval)
        services.withdraw(actor=request.actor, approval=approval, **parse_body(ApprovalReasonBody, request))
        return Response(serialize_approval(request, *get_project_approval(request, project, pk)))


class ApprovalAsk(APIView):
    @extend_schema(operation_id="approvals_ask", request=ApprovalAskBody, responses=ApprovalDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Ask who requested it for more. Nothing is decided, and the deadline runs on."""
        _where, approval = get_project_approval(request, project, pk)
        policy.require(request.actor, "approval.ask", approval)
        services.ask_for_more(actor=request.actor, approval=approval, **parse_body(ApprovalAskBody, request))
        return Response(serialize_approval(request, *get_project_approval(request, project, pk)))


class ApprovalAnswer(APIView):
    @extend_schema(operation_id="approvals_answer", request=ApprovalAnswerBody, responses=ApprovalDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """What the requester answers, or adds."""
        _where, approval = get_project_approval(request, project, pk)
        policy.require(request.actor, "approval.answer", approval)
        services.answer(actor=request.actor, approval=approval, **parse_body(ApprovalAnswerBody, request))
        return Response(serialize_approval(request, *get_project_approval(request, project, pk)))


class ApprovalPolicyList(APIView):
    @extend_schema(operation_id="approval_policies_list", responses=ApprovalPoliciesSerializer)
    def get(self, request: Request, project: str) -> Response:
        """How many approvals each subject type takes in this project, and within how many hours."""
        rows = queries.list_policies(request.actor, get_project(request.actor, project))
        return Response(ApprovalPoliciesSerializer({"items": rows, "next": None}).data)


class ApprovalPolicyDetail(APIView):
    @extend_schema(
        operation_id="approval_policies_update", request=ApprovalPolicyBody, responses=ApprovalPolicySerializer
    )
    def put(self, request: Request, project: str, subject_type: str) -> Response:
        """Set it, for requests from now on. No token may: the security administrator's session does."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "approval.set_policy", where)
        body = parse_body(ApprovalPolicyBody, request)
        services.set_approval_policy(actor=request.actor, project=where, subject_type=subject_type, **body)
        rows = queries.list_policies(request.actor, where)
        return Response(ApprovalPolicySerializer(next(row for row in rows if row["subject_type"] == subject_type)).data)
