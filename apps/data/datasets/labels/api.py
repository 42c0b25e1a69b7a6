"""Security labels for programs in a browser's session: no token sets or lists them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.data.datasets.labels import queries, services
from apps.data.datasets.models import Dataset
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project
from apps.platform.accounts.queries import get_service_account, get_user
from apps.platform.accounts.reauthentication import require_fresh_decision
from apps.platform.accounts.security_labels import MAX_LABEL_REASON, get_label_name
from apps.platform.accounts.services import set_clearance, set_project_label, set_service_account_clearance


class LabelBody(serializers.Serializer[Any]):
    label = serializers.CharField(max_length=40, help_text="One of SECURITY_LABELS.")  # type: ignore[assignment]
    reason = serializers.CharField(
        max_length=MAX_LABEL_REASON,
        required=False,
        allow_blank=True,
        default="",
        help_text="Required where more people may see it afterwards.",
    )


class LabelSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]


class DatasetLabelSerializer(serializers.Serializer[Dataset]):
    name = serializers.CharField()
    label = serializers.SerializerMethodField()  # type: ignore[assignment]

    def get_label(self, dataset: Dataset) -> str:
        return get_label_name(dataset.security_label)


def answer(name: str, level: int) -> Response:
    return Response(LabelSerializer({"name": name, "label": get_label_name(level)}).data)


class ProjectLabel(APIView):
    @extend_schema(operation_id="project_label_set", request=LabelBody, responses=LabelSerializer)
    def put(self, request: Request, project: str) -> Response:
        """Set the security label of a project: who is cleared for less does not see it."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "project.set_label", where)
        require_fresh_decision(request._request, request.actor, "project.set_label")
        where = set_project_label(actor=request.actor, project=where, **parse_body(LabelBody, request))
        return answer(where.slug, where.security_label)


class DatasetLabels(ListAPIView[Dataset]):
    serializer_class = DatasetLabelSerializer
    queryset = Dataset.objects.none()  # for the schema alone
    page_order = ("name",)

    def get_queryset(self) -> Any:
        where = get_project(self.request.actor, self.kwargs["project"])
        return queries.list_dataset_labels(self.request.actor, where)

    @extend_schema(operation_id="dataset_labels_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The datasets of a project with their labels, for the security administrator and the auditor."""
        return super().get(request, *args, **kwargs)


class DatasetLabel(APIView):
    @extend_schema(operation_id="dataset_label_set", request=LabelBody, responses=LabelSerializer)
    def put(self, request: Request, project: str, name: str) -> Response:
        """Set the security label of a dataset: who is cleared for less does not see it."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "dataset.set_label", where)
        require_fresh_decision(request._request, request.actor, "dataset.set_label")
        dataset = queries.get_labelled_dataset(request.actor, where, name)
        dataset = services.set_dataset_label(actor=request.actor, dataset=dataset, **parse_body(LabelBody, request))
        return answer(dataset.name, dataset.security_label)


class UserClearance(APIView):
    @extend_schema(operation_id="user_clearance_set", request=LabelBody, responses=LabelSerializer)
    def put(self, request: Request, username: str) -> Response:
        """Set the highest label that a person may see."""
        user = get_user(request.actor, username)
        policy.require(request.actor, "user.set_clearance", user)
        require_fresh_decision(request._request, request.actor, "user.set_clearance")
        body = parse_body(LabelBody, request)
        user = set_clearance(actor=request.actor, user=user, clearance=body["label"], reason=body["reason"])
        return answer(user.username, user.clearance)


class ServiceAccountClearance(APIView):
    @extend_schema(operation_id="service_account_clearance_set", request=LabelBody, responses=LabelSerializer)
    def put(self, request: Request, project: str, name: str) -> Response:
        """Set the highest label that a service account may see."""
        account = get_service_account(request.actor, get_project(request.actor, project), name)
        policy.require(request.actor, "service_account.set_clearance", account)
        require_fresh_decision(request._request, request.actor, "service_account.set_clearance")
        body = parse_body(LabelBody, request)
        account = set_service_account_clearance(
            actor=request.actor, account=account, clearance=body["label"], reason=body["reason"]
        )
        return answer(account.name, account.clearance)
