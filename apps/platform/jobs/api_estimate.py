"""REST: what a job would need of memory, and which nodes could hold it, without queueing it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.scheduling.memory_fit import MemoryFit
from apps.platform.jobs.serializers import read_submission
from apps.platform.jobs.submission import choose_queue
from apps.platform.jobs.submission_validation import estimate_submission
from deepseek.messages import Message


class PartsField(serializers.Serializer[Any]):
    parameters = serializers.IntegerField()
    gradients = serializers.IntegerField()
    optimizer = serializers.IntegerField()
    activations = serializers.IntegerField(help_text="What a step, or validation, keeps of the examples at once.")
    copies = serializers.IntegerField(help_text="The best weights, and what is written of them.")
    data = serializers.IntegerField()
    libraries = serializers.IntegerField()
    total = serializers.IntegerField()


class EstimateField(serializers.Serializer[Any]):
    host = PartsField(help_text="Bytes of memory on each node.")
    gpu = PartsField(allow_null=True, help_text="Bytes on each GPU; null where none is used.")
    examples = serializers.IntegerField(help_text="Of a step, computed at once in one process.")


class NodeFitField(serializers.Serializer[Any]):
    node = serializers.CharField()
    memory_bytes = serializers.IntegerField(help_text="That jobs may use together.")
    gpu_memory_bytes = serializers.IntegerField(allow_null=True, help_text="Of the smallest GPU it would get.")
    missing_bytes = serializers.IntegerField()
    missing_gpu_bytes = serializers.IntegerField()
    fits = serializers.BooleanField()


class RemedyField(serializers.Serializer[Any]):
    change = serializers.CharField(help_text="A field of the spec and its value.")
    host_bytes = serializers.IntegerField()
    gpu_bytes = serializers.IntegerField(allow_null=True)


class MemoryEstimateSerializer(serializers.Serializer[Any]):
    """`estimate` is null for a kind that does not train, or a language model of which nothing is known; then nothing
    is said of the nodes either."""

    kind = serializers.CharField()
    queue = serializers.CharField()
    estimate = EstimateField(allow_null=True)
    needs = serializers.DictField(help_text="What the job would take of each node.")
    can_run = serializers.BooleanField(help_text="Whether a node of the queue could hold it, or there is none yet.")
    nodes = NodeFitField(many=True)
    remedies = RemedyField(many=True)
    warnings = serializers.ListField(child=serializers.CharField())


class JobEstimate(APIView):
    @extend_schema(
        operation_id="jobs_estimate",
        request={"application/json": {"$ref": "#/components/schemas/JobSubmission"}},
        responses=MemoryEstimateSerializer,
    )
    def post(self, request: Request, project: str) -> Response:
        """What the job of this body would need, by part, and which nodes could hold it; nothing is queued."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "job.submit", where)
        submission = read_submission(request.data, idempotency_key=None)
        kind, needs, fit = estimate_submission(request.actor, where, submission)
        body = {
            "kind": submission.kind,
            "queue": choose_queue(kind, needs),
            "needs": needs.as_body(),
            "can_run": fit is None or fit.can_run,
            **describe_fit(fit),
        }
        return Response(MemoryEstimateSerializer(body).data)


def describe_fit(fit: MemoryFit | None) -> dict[str, Any]:
    if fit is None:
        return {"estimate": None, "nodes": [], "remedies": [], "warnings": []}
    estimate = fit.estimate
    warnings = []
    if not fit.enough_asked:
        warnings.append(
            Message(
                "The job asks for {asked} bytes of memory and is estimated to need {need}: it may be stopped at its "
                "limit.",
                asked=fit.needs.memory_bytes,
                need=estimate.host.total,
            )
        )
    return {
        "estimate": {
            "host": estimate.host.as_dict(),
            "gpu": estimate.gpu.as_dict() if estimate.gpu else None,
            "examples": estimate.examples,
        },
        "nodes": fit.nodes,
        "remedies": [
            {"change": change, "host_bytes": less.host.total, "gpu_bytes": less.gpu.total if less.gpu else None}
            for change, less in fit.remedies
        ],
        "warnings": warnings,
    }
