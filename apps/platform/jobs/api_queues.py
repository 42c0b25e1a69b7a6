"""Queues for programs: how long each is and was, and why the job at its head does not start."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.platform.jobs.scheduling.queues import Queue, get_queue_samples, list_queues
from apps.platform.jobs.serializers import WaitField
from apps.platform.nodes.api import OVER_TIME
from apps.platform.nodes.samples import parse_time_window


class HeadField(serializers.Serializer[Any]):
    """The job that a queue gives out next. Of a project that you are not in, only what it takes is told."""

    id = serializers.IntegerField(allow_null=True)
    project = serializers.CharField(allow_null=True)
    kind = serializers.CharField()
    wait = WaitField()


class QueueSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    queued = serializers.IntegerField()
    running = serializers.IntegerField()
    waiting = serializers.IntegerField(help_text="For a parent.")
    oldest_queued_at = serializers.DateTimeField(allow_null=True)
    nodes = serializers.ListField(child=serializers.CharField(), help_text="Online, and serving it.")
    head = HeadField(allow_null=True)


class QueueSampleField(serializers.Serializer[Any]):
    at = serializers.DateTimeField(help_text="Where the step begins.")
    queued = serializers.FloatField()
    running = serializers.FloatField()
    waiting = serializers.FloatField()
    oldest_seconds = serializers.FloatField(allow_null=True)


class QueueSamplesSerializer(serializers.Serializer[Any]):
    queue = serializers.CharField()
    step = serializers.IntegerField(help_text="Seconds.")
    to = serializers.DateTimeField()
    samples = QueueSampleField(many=True)

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of the language, so no attribute can have this name."""
        return {"from": serializers.DateTimeField(), **super().get_fields()}


class QueueListSerializer(serializers.Serializer[Any]):
    items = QueueSerializer(many=True)


def serialize_queue(queue: Queue, project_ids: frozenset[int]) -> dict[str, Any]:
    head = None
    if queue.head is not None:
        mine = queue.head.project_id in project_ids
        identity = {"id": queue.head.pk, "project": queue.head.project.slug} if mine else {"id": None, "project": None}
        head = {**identity, "kind": queue.head.kind, "wait": queue.wait}
    names = ("name", "queued", "running", "waiting", "nodes")
    return {**{name: getattr(queue, name) for name in names}, "oldest_queued_at": queue.oldest, "head": head}


class QueueList(APIView):
    @extend_schema(operation_id="queues_list", responses=QueueListSerializer)
    def get(self, request: Request) -> Response:
        """Every queue that a node serves or a job is in: how long it is, and why its first job does not start."""
        queues = [serialize_queue(queue, request.actor.project_ids) for queue in list_queues(request.actor)]
        return Response(QueueListSerializer({"items": queues}).data)


class QueueSamples(APIView):
    @extend_schema(operation_id="queues_samples", parameters=OVER_TIME, responses=QueueSamplesSerializer)
    def get(self, request: Request, queue: str) -> Response:
        """How long a queue was: means over each step, at most 400; none for a queue that never was."""
        window = parse_time_window(request.query_params)
        points = [{"at": at, **payload} for at, payload in get_queue_samples(request.actor, queue[:20], window)]
        payload = {"queue": queue[:20], "from": window.start, "to": window.end, "step": window.step, "samples": points}
        return Response(QueueSamplesSerializer(payload).data)
