"""Jobs for programs: submit, look, wait, follow, cancel, retry, prioritise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import Invalid
from apps.core.lists.listing import build_day_parameters
from apps.core.request_values import MAX_INT32, parse_int
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.jobs import queries, services
from apps.platform.jobs.checkpoints import get_checkpoint
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.lists import DAYS, choose_sort, filter_by_days
from apps.platform.jobs.models import Job
from apps.platform.jobs.serializers import (
    JobDetailSerializer,
    JobSerializer,
    KindSerializer,
    LogSerializer,
    PriorityBody,
    ReasonBody,
    read_body,
    read_submission,
)
from apps.platform.jobs.states import JobState
from apps.platform.jobs.streams import release_connection, stream_response, wait_until_ended
from deepseek.messages import N_

WAIT_SECONDS = (0, 60)
FILTERS = [OpenApiParameter(name, str, description="Only these.") for name in queries.FILTERS]
FILTERS += build_day_parameters(*DAYS)
ORDERS = {"": ("-id",), "-made": ("-created_at", "-id"), "-ended": ("-ended_at", "-id")}  # each walks an index
KEY = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description="The same key queues one job.")
AFTER = OpenApiParameter("after", int, description="Only what comes behind this number.")


def parse_bounded_int(text: str, field: str, low: int, high: int) -> int:
    """The whole number in a query string; Invalid outside low..high."""
    if (number := parse_int(text, low, high)) is not None:
        return number
    raise Invalid(
        "{name} is {text!r}.",
        name=field,
        text=text[:40],
        code="out_of_range",
        field=field,
        limit=f"{low}..{high}",
        hint=N_("A whole number."),
    )


def get_project_job(request: Request, project: str, pk: int) -> tuple[Project, Job]:
    where = get_project(request.actor, project)
    return where, queries.get_job(request.actor, where, pk)


def serialize_job(request: Request, project: Project, job: Job) -> dict[str, Any]:
    """Everything of one job; the number of queries does not depend on what it holds."""
    queries.load_slots(job)
    columns = ("pk", "kind", "state")
    parents = Job.objects.filter(children_links__child=job).order_by("pk").only(*columns)
    children = Job.objects.filter(parent_links__parent=job).order_by("pk").only(*columns)
    context = {
        "project": project.slug,
        "parents": [{"id": p.pk, "kind": p.kind, "state": p.state} for p in parents],
        "children": [{"id": c.pk, "kind": c.kind, "state": c.state} for c in children[:200]],
        "wait": queries.explain_wait(request.actor, job) if job.state in (JobState.WAITING, JobState.QUEUED) else None,
        "checkpoint": get_checkpoint(job),
        "members": queries.list_job_members(job),
    }
    return dict(JobDetailSerializer(job, context=context).data)


class JobList(GenericAPIView[Job]):
    serializer_class = JobSerializer
    queryset = Job.objects.none()  # for the schema alone
    page_order: tuple[str, ...] = ("-id",)
    page_present = ("ended_at",)  # a job without it is in no list that is ordered by it

    @extend_schema(operation_id="jobs_list", parameters=FILTERS, responses=JobSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """The jobs of the project, newest first; narrowed by when they ended, those that ended last."""
        where, params = get_project(request.actor, project), request.query_params
        filters = {name: params.get(name, "") for name in queries.FILTERS}
        self.page_order = ORDERS[choose_sort(params)]
        rows = self.paginate_queryset(filter_by_days(queries.list_jobs(request.actor, where, **filters), params))
        return self.get_paginated_response(JobSerializer(rows, many=True, context={"project": where.slug}).data)

    @extend_schema(
        operation_id="jobs_create",
        parameters=[KEY],
        request={"application/json": {"$ref": "#/components/schemas/JobSubmission"}},
        responses={200: OpenApiResponse(JobDetailSerializer, "The key's first job."), 201: JobDetailSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        """Queue a job: 201, or 200 with `Idempotent-Replayed: true` when the key was sent before."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "job.submit", where)  # before the body: who may not, learns nothing of it
        submission = read_submission(request.data, idempotency_key=request.headers.get("Idempotency-Key"))
        job, is_new = services.submit_job(actor=request.actor, project=where, submission=submission)
        body = serialize_job(request, where, job)
        headers = {"Location": body["links"]["self"]}
        if is_new:
            return Response(body, status=status.HTTP_201_CREATED, headers=headers)
        return Response(body, headers={**headers, "Idempotent-Replayed": "true"})


class JobDetail(APIView):
    @extend_schema(operation_id="jobs_retrieve", responses=JobDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """Everything of one job: spec, inputs, outputs, progress, error, and why it waits."""
        where, job = get_project_job(request, project, pk)
        return Response(serialize_job(request, where, job))


class JobCancel(APIView):
    @extend_schema(operation_id="jobs_cancel", request=ReasonBody, responses=JobDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Cancel at once if it has not started; else its worker is asked to stop it."""
        where, job = get_project_job(request, project, pk)
        policy.require(request.actor, "job.cancel", job)
        services.cancel_job(actor=request.actor, job=job, reason=read_body(ReasonBody, request.data).reason)
        return Response(serialize_job(request, where, job))


class JobRetry(APIView):
    @extend_schema(operation_id="jobs_retry", request=ReasonBody, responses=JobDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Queue a failed or cancelled job again; the jobs that failed because of it wait again."""
        where, job = get_project_job(request, project, pk)
        policy.require(request.actor, "job.retry", job)
        services.retry_job(actor=request.actor, job=job, reason=read_body(ReasonBody, request.data).reason)
        return Response(serialize_job(request, where, job))


class JobPriority(APIView):
    @extend_schema(operation_id="jobs_priority", request=PriorityBody, responses=JobDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Give a job that has not started another priority."""
        where, job = get_project_job(request, project, pk)
        policy.require(request.actor, "job.prioritise", job)
        body = read_body(PriorityBody, request.data)
        services.prioritise_job(actor=request.actor, job=job, priority=body.priority)
        return Response(serialize_job(request, where, job))


class JobWait(APIView):
    timeout = OpenApiParameter("timeout", int, description="Seconds, 0 to 60; 30 if left out.")

    @extend_schema(operation_id="jobs_wait", parameters=[timeout], responses=JobDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """Answer as soon as the job has ended, or with its state now when the time is over."""
        seconds = parse_bounded_int(request.query_params.get("timeout", "30"), "timeout", *WAIT_SECONDS)
        where, job = get_project_job(request, project, pk)
        if seconds and not job.ended:
            wait_until_ended(job.pk, seconds)
            job = queries.get_job(request.actor, where, pk)
        return Response(serialize_job(request, where, job))


class JobLog(APIView):
    query = [
        AFTER,
        OpenApiParameter("limit", int, description="Lines, 1 to 5000; 500 if left out."),
        OpenApiParameter("q", str, description="Only lines that contain this, upper or lower case."),
        OpenApiParameter("level", str, enum=list(queries.LEVELS), description="Only lines of this level or graver."),
    ]

    @extend_schema(
        operation_id="jobs_log",
        parameters=query,
        responses={(200, "application/json"): LogSerializer, (200, "text/plain"): OpenApiTypes.STR},
    )
    def get(self, request: Request, project: str, pk: int) -> Response | StreamingHttpResponse:
        """Lines of the log, searched on the server; with `Accept: text/plain` the whole log as text."""
        _where, job = get_project_job(request, project, pk)
        if request.headers.get("Accept", "").startswith("text/plain"):
            return build_text_response(job)
        params = request.query_params
        limit = parse_bounded_int(params.get("limit", "500"), "limit", *queries.LOG_LIMIT)
        lines = queries.search_log(
            job,
            after=parse_bounded_int(params.get("after", "0"), "after", 0, MAX_INT32),
            limit=limit,
            query=params.get("q", "")[:200],
            level=params.get("level", ""),
        )
        more = lines[-1]["number"] if len(lines) == limit else None
        return Response(LogSerializer({"items": lines, "next": more, "total": job.log_lines}).data)


class JobLogText(APIView):
    @extend_schema(operation_id="jobs_log_text", responses={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, request: Request, project: str, pk: int) -> StreamingHttpResponse:
        """The whole log as a text file."""
        _where, job = get_project_job(request, project, pk)
        response = build_text_response(job)
        response.headers["Content-Disposition"] = f'attachment; filename="job-{job.pk}.log.txt"'
        return response


def build_text_response(job: Job) -> StreamingHttpResponse:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return StreamingHttpResponse(iter_log_text(job), content_type="text/plain; charset=utf-8", headers=headers)


def iter_log_text(job: Job) -> Iterator[bytes]:
    for batch in queries.iter_line_batches(job):
        release_connection()
        yield "".join(
            f"{line['at'].isoformat() if line['at'] else '-'} {line['level'].upper():<8} {line['text']}\n"
            for line in batch
        ).encode(errors="replace")


class JobEvents(APIView):
    last = OpenApiParameter("Last-Event-ID", int, OpenApiParameter.HEADER, description="As a browser sends it.")

    @extend_schema(
        operation_id="jobs_events",
        parameters=[AFTER, last],
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
    )
    def get(self, request: Request, project: str, pk: int) -> StreamingHttpResponse:
        """Server-Sent Events: progress, log, state, metric, and `end`; resumes behind Last-Event-ID."""
        _where, job = get_project_job(request, project, pk)
        resumed = request.headers.get("Last-Event-ID", "").strip()
        field = "Last-Event-ID" if resumed else "after"
        after = parse_bounded_int(resumed or request.query_params.get("after", "0"), field, 0, MAX_INT32)
        release_connection()
        return stream_response(job.pk, after)


class KindList(APIView):
    @extend_schema(operation_id="kinds_list", responses=KindSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Every kind of job, with the JSON Schema of its spec."""
        rows = [
            {
                "kind": key,
                "label": str(kind.label),
                "doc": str(kind.doc),
                "queue": kind.queue,
                "inputs": kind.inputs,
                "optional_inputs": kind.optional_inputs,
                "any_inputs": kind.any_inputs,
                "folders": kind.folders,
                "outputs": kind.outputs,
                "registers": kind.registers,
                "needs": kind.needs.as_body(),
                "extra": kind.needs.extra,
                "time_limit_seconds": kind.time_limit_seconds,
                "max_attempts": kind.max_attempts,
                "schema": kind.spec.model_json_schema(),
            }
            for key, kind in KINDS.items()
        ]
        return Response({"items": rows})
