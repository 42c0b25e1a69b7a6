"""Labelling for programs: connections, schemas, projects, tasks; and what webhooks of Label Studio ring."""

from __future__ import annotations

import hmac
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Invalid, Unauthenticated
from apps.ml.labelling import queries, services
from apps.ml.labelling import serializers as bodies
from apps.ml.labelling.models import LabellingProject, LabelSchemaVersion, LabelServer, LabelTask
from apps.ml.labelling.tokens import TokenUnreadable, decrypt_token
from apps.platform.accounts.api import parse_body
from apps.platform.accounts.projects import get_project

STATE = OpenApiParameter("state", str, description="Only these.")
LEVEL = OpenApiParameter("level", str, description="Only those of this level.")


def get_project_labelling(request: Request, project: str, pk: int) -> LabellingProject:
    return queries.get_labelling(request.actor, get_project(request.actor, project), pk)


def get_project_task(request: Request, project: str, pk: int, task: int) -> LabelTask:
    return queries.get_task(request.actor, get_project_labelling(request, project, pk), task)


def serialize_labelling(labelling: LabellingProject) -> dict[str, Any]:
    return dict(bodies.LabellingDetailSerializer(labelling).data)


def serialize_task(task: LabelTask) -> dict[str, Any]:
    annotations = queries.load_current_annotations([task.pk]).get(task.pk, [])
    return dict(bodies.LabelTaskDetailSerializer(task, context={"annotations": annotations}).data)


class LabelServerList(GenericAPIView[LabelServer]):
    serializer_class = bodies.LabelServerSerializer
    queryset = LabelServer.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="label_servers_list", responses=bodies.LabelServerSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The connections to Label Studio, newest first."""
        rows = queries.list_servers(request.actor, get_project(request.actor, project))
        return self.get_paginated_response(
            bodies.LabelServerSerializer(self.paginate_queryset(rows) or [], many=True).data
        )

    @extend_schema(
        operation_id="label_servers_create",
        request=bodies.NewServerBody,
        responses={201: bodies.LabelServerSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        """Add a connection; it is checked within seconds."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "labelling.connect", where)
        body = parse_body(bodies.NewServerBody, request)
        server = services.connect_server(actor=request.actor, project=where, **body)
        return Response(bodies.LabelServerSerializer(server).data, status=status.HTTP_201_CREATED)


class LabelServerDetail(APIView):
    @extend_schema(operation_id="label_servers_retrieve", responses=bodies.LabelServerSerializer)
    def get(self, request: Request, project: str, name: str) -> Response:
        """One connection, with what its last check found."""
        server = queries.get_server(request.actor, get_project(request.actor, project), name)
        return Response(bodies.LabelServerSerializer(server).data)

    @extend_schema(
        operation_id="label_servers_update", request=bodies.ServerBody, responses=bodies.LabelServerSerializer
    )
    def patch(self, request: Request, project: str, name: str) -> Response:
        """Change the address or the token; it is checked again."""
        server = queries.get_server(request.actor, get_project(request.actor, project), name)
        policy.require(request.actor, "labelling.connect", server)
        body = parse_body(bodies.ServerBody, request)
        server = services.update_server(actor=request.actor, server=server, **body)
        return Response(bodies.LabelServerSerializer(server).data)

    @extend_schema(operation_id="label_servers_delete", request=None, responses={204: None})
    def delete(self, request: Request, project: str, name: str) -> Response:
        """Forget one that no labelling project is on."""
        server = queries.get_server(request.actor, get_project(request.actor, project), name)
        services.delete_server(actor=request.actor, server=server)
        return Response(status=status.HTTP_204_NO_CONTENT)


class LabelSchemaList(GenericAPIView[LabelSchemaVersion]):
    serializer_class = bodies.LabelSchemaVersionSerializer
    queryset = LabelSchemaVersion.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="label_schemas_list", responses=bodies.LabelSchemaVersionSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The versions of all schemas, newest first."""
        rows = queries.list_project_schema_versions(request.actor, get_project(request.actor, project))
        return self.get_paginated_response(
            bodies.LabelSchemaVersionSerializer(self.paginate_queryset(rows) or [], many=True).data
        )

    @extend_schema(
        operation_id="label_schemas_create",
        request=bodies.NewSchemaBody,
        responses={200: bodies.LabelSchemaVersionSerializer, 201: bodies.LabelSchemaVersionSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        """Save a schema as the next version of its name; 200 with the version that has it already."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "labelling.save_schema", where)
        body = parse_body(bodies.NewSchemaBody, request)
        document = body.get("config") or body.get("document")
        if not isinstance(document, dict | str):
            raise Invalid("A schema or a configuration is missing.", field="document", limit="a JSON object, or XML")
        version, is_new = services.save_schema(actor=request.actor, project=where, name=body["name"], document=document)
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(bodies.LabelSchemaVersionSerializer(version).data, status=code)


class LabelSchemaDetail(APIView):
    @extend_schema(operation_id="label_schemas_retrieve", responses=bodies.LabelSchemaVersionSerializer)
    def get(self, request: Request, project: str, name: str, schema_version: int) -> Response:
        """One version of a schema with its configuration."""
        version = queries.get_schema_version(request.actor, get_project(request.actor, project), name, schema_version)
        return Response(bodies.LabelSchemaVersionSerializer(version).data)


class LabellingList(GenericAPIView[LabellingProject]):
    serializer_class = bodies.LabellingProjectSerializer
    queryset = LabellingProject.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(
        operation_id="labellings_list",
        parameters=[STATE, LEVEL],
        responses=bodies.LabellingProjectSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        """The labelling projects, newest first."""
        narrow = {name: request.query_params.get(name, "") for name in ("state", "level")}
        rows = queries.list_labellings(request.actor, get_project(request.actor, project), **narrow)
        return self.get_paginated_response(
            bodies.LabellingProjectSerializer(self.paginate_queryset(rows) or [], many=True).data
        )

    @extend_schema(
        operation_id="labellings_create",
        request=bodies.NewLabellingBody,
        responses={201: bodies.LabellingDetailSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        """Have a dataset version, or what the level before agreed on, labelled."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "labelling.create", where)
        body = parse_body(bodies.NewLabellingBody, request)
        labelling = services.create_labelling(actor=request.actor, project=where, **body)
        return Response(serialize_labelling(labelling), status=status.HTTP_201_CREATED)


class LabellingDetail(APIView):
    @extend_schema(operation_id="labellings_retrieve", responses=bodies.LabellingDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One labelling project with its progress and agreement."""
        return Response(serialize_labelling(get_project_labelling(request, project, pk)))


class LabellingSync(APIView):
    @extend_schema(operation_id="labellings_synchronize", request=None, responses=bodies.LabellingDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Read every task from the server as soon as possible."""
        labelling = get_project_labelling(request, project, pk)
        return Response(serialize_labelling(services.synchronize_labelling(actor=request.actor, labelling=labelling)))


class LabellingClose(APIView):
    @extend_schema(
        operation_id="labellings_close", request=bodies.CloseLabellingBody, responses=bodies.LabellingDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """End it: nothing is imported or synchronized any more."""
        labelling = get_project_labelling(request, project, pk)
        policy.require(request.actor, "labelling.close", labelling)
        reason = parse_body(bodies.CloseLabellingBody, request)["reason"]
        closed = services.close_labelling(actor=request.actor, labelling=labelling, reason=reason)
        return Response(serialize_labelling(closed))


class LabellingBar(APIView):
    @extend_schema(
        operation_id="labellings_set_bar", request=bodies.BarBody, responses=bodies.LabellingDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Set the agreement that a result needs."""
        labelling = get_project_labelling(request, project, pk)
        policy.require(request.actor, "labelling.set_bar", labelling)
        bar = parse_body(bodies.BarBody, request)["bar"]
        return Response(serialize_labelling(services.set_bar(actor=request.actor, labelling=labelling, bar=bar)))


class LabellingResult(APIView):
    @extend_schema(
        operation_id="labellings_publish", request=bodies.ResultBody, responses={202: bodies.LabellingDetailSerializer}
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Make a dataset version of what is agreed, within seconds: `result` names it then."""
        labelling = get_project_labelling(request, project, pk)
        policy.require(request.actor, "labelling.publish", labelling)
        dataset = parse_body(bodies.ResultBody, request)["dataset"]
        labelling = services.request_result(actor=request.actor, labelling=labelling, dataset=dataset)
        return Response(serialize_labelling(labelling), status=status.HTTP_202_ACCEPTED)


class LabellingTrain(APIView):
    @extend_schema(operation_id="labellings_train", request=None, responses={201: dict})
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Queue a training on the newest result."""
        labelling = get_project_labelling(request, project, pk)
        job = services.train_on_result(actor=request.actor, labelling=labelling)
        return Response({"job": job.pk, "kind": job.kind}, status=status.HTTP_201_CREATED)


class LabelTaskList(GenericAPIView[LabelTask]):
    serializer_class = bodies.LabelTaskSerializer
    queryset = LabelTask.objects.none()  # for the schema alone
    page_order = ("number",)

    @extend_schema(operation_id="label_tasks_list", parameters=[STATE], responses=bodies.LabelTaskSerializer(many=True))
    def get(self, request: Request, project: str, pk: int) -> Response:
        """The tasks in the order that annotators meet them."""
        labelling = get_project_labelling(request, project, pk)
        rows = queries.list_tasks(request.actor, labelling, state=request.query_params.get("state", ""))
        return self.get_paginated_response(
            bodies.LabelTaskSerializer(self.paginate_queryset(rows) or [], many=True).data
        )


class LabelTaskDetail(APIView):
    @extend_schema(operation_id="label_tasks_retrieve", responses=bodies.LabelTaskDetailSerializer)
    def get(self, request: Request, project: str, pk: int, task: int) -> Response:
        """One task with what each annotator marked."""
        return Response(serialize_task(get_project_task(request, project, pk, task)))


class LabelTaskAdjudicate(APIView):
    @extend_schema(
        operation_id="label_tasks_adjudicate",
        request=bodies.AdjudicateBody,
        responses=bodies.LabelTaskDetailSerializer,
    )
    def post(self, request: Request, project: str, pk: int, task: int) -> Response:
        """Decide what a task is marked as."""
        row = get_project_task(request, project, pk, task)
        policy.require(request.actor, "labelling.adjudicate", row)
        body = parse_body(bodies.AdjudicateBody, request)
        return Response(serialize_task(services.adjudicate_task(actor=request.actor, task=row, **body)))


class LabelTaskReopen(APIView):
    @extend_schema(operation_id="label_tasks_reopen", request=None, responses=bodies.LabelTaskDetailSerializer)
    def post(self, request: Request, project: str, pk: int, task: int) -> Response:
        """Take a decision back."""
        row = get_project_task(request, project, pk, task)
        return Response(serialize_task(services.reopen_task(actor=request.actor, task=row)))


class LabelTaskGold(APIView):
    @extend_schema(
        operation_id="label_tasks_set_gold", request=bodies.GoldBody, responses=bodies.LabelTaskDetailSerializer
    )
    def post(self, request: Request, project: str, pk: int, task: int) -> Response:
        """Say which marks are known to be right, so that annotators are compared with them."""
        row = get_project_task(request, project, pk, task)
        policy.require(request.actor, "labelling.set_gold", row)
        marks = parse_body(bodies.GoldBody, request)["marks"]
        return Response(serialize_task(services.set_gold(actor=request.actor, task=row, marks=marks)))


class LabellingHook(APIView):
    """What a webhook of Label Studio calls. It says no more than that something has changed."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(operation_id="labelling_hook", request=None, responses={204: None}, auth=[])
    def post(self, request: Request, hook_key: str) -> Response:
        """Ring: read the changes soon. The header X-Plane-Secret is that of the connection; the body is not read."""
        group = queries.find_group_by_hook(hook_key)
        sent = request.headers.get("X-Plane-Secret", "")
        try:
            secret = decrypt_token(group.labelling.server.hook_secret) if group else ""
        except TokenUnreadable:
            secret = ""
        if group is None or not secret or not hmac.compare_digest(sent.encode(), secret.encode()):
            raise Unauthenticated("Log in or send a token.")
        services.ring_labelling(actor=build_plane_actor(PlaneRole.WORKER), group=group)
        return Response(status=status.HTTP_204_NO_CONTENT)
