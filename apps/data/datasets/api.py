"""REST views of datasets and their versions: list, create, add a version by body or by digest, read, delete."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.lists.listing import build_day_parameters, filter_between_days
from apps.data.datasets import queries, services
from apps.data.datasets.api_quality import build_job_response
from apps.data.datasets.cards.services import describe_dataset
from apps.data.datasets.ingest.uploads import ingest_csv, ingest_files, ingest_table
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.quality.profile_jobs import measure_added
from apps.data.datasets.requests import add_table_input, validate_body
from apps.data.datasets.serializers import (
    AddingBody,
    DatasetBody,
    DatasetChangesBody,
    DatasetSerializer,
    PreviewQuery,
    PreviewSerializer,
    ReadingBody,
    ReasonQuery,
    VersionBody,
    VersionDetailSerializer,
    VersionSerializer,
)
from apps.data.datasets.versions import registration
from apps.data.datasets.versions.deletion import delete_version
from apps.data.datasets.versions.manifest import (
    CSV,
    JSON_LINES,
    TABLES,
    check_dialect_options,
    format_csv_type,
    get_table_path,
    guess_media_type,
)
from apps.data.datasets.versions.masked_columns import mask_rows
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project
from apps.platform.artifacts.api import PURPOSE, release_connection
from apps.platform.artifacts.downloads import check_download, download
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.request_body import open_body, prevent_form_parsing, refuse_forms
from apps.platform.artifacts.services import get_holding, publish_upload
from apps.platform.jobs.api import KEY, serialize_job
from apps.platform.jobs.models import Job
from apps.platform.jobs.serializers import JobDetailSerializer, read_submission
from apps.platform.jobs.services import submit_job
from deepseek.tables.csv_dialect import AUTO, CsvDialect

ADDED = {
    201: OpenApiResponse(VersionDetailSerializer, description="A new version."),
    200: OpenApiResponse(VersionDetailSerializer, description="The dataset has this version already."),
    202: OpenApiResponse(JobDetailSerializer, description="The job that checks it, and makes the version if it holds."),
}

TABLE_BODY_TYPES = {**{kind: kind for kind in TABLES}, "application/jsonl": JSON_LINES}
"""The media types of bodies that are tables, and what each is called in a version."""

Added = tuple[DatasetVersion, bool]
QUERY = OpenApiParameter("q", str, description="A part of the name or the description.")


class DatasetsView(GenericAPIView[Dataset]):
    """The datasets of a project, newest first; POST makes an empty one."""

    serializer_class = DatasetSerializer
    queryset = Dataset.objects.none()  # for the schema alone
    page_order: tuple[str, ...] = ("-id",)

    @extend_schema(
        operation_id="datasets_list",
        parameters=[QUERY, *build_day_parameters("changed")],
        responses=DatasetSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        """The datasets of the project, newest first; narrowed by when they changed, those that changed last."""
        in_project, params = get_project(request.actor, project), request.query_params
        datasets = queries.list_datasets(request.actor, in_project, query=params.get("q", ""))
        if params.get("changed_after") or params.get("changed_before"):
            self.page_order = ("-touched_at", "-id")  # whose index holds these days in one piece
        page = self.paginate_queryset(filter_between_days(datasets, "touched_at", params, "changed"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(operation_id="datasets_create", request=DatasetBody, responses={201: DatasetSerializer})
    def post(self, request: Request, project: str) -> Response:
        in_project = get_project(request.actor, project)
        policy.require(request.actor, "dataset.create", in_project)
        body = validate_body(DatasetBody, request.data)
        dataset = services.create_dataset(actor=request.actor, project=in_project, **body)
        dataset.rows = dataset.size = dataset.changed_at = None  # type: ignore[attr-defined]  # as the list annotates: no version
        data = self.get_serializer(dataset).data
        return Response(data, status=status.HTTP_201_CREATED, headers={"Location": f"{request.path}/{dataset.name}"})


class DatasetView(APIView):
    @extend_schema(operation_id="datasets_read", responses=DatasetSerializer)
    def get(self, request: Request, project: str, name: str) -> Response:
        dataset = queries.get_dataset(request.actor, get_project(request.actor, project), name)
        return Response(DatasetSerializer(dataset, context={"request": request}).data)

    @extend_schema(operation_id="datasets_describe", request=DatasetChangesBody, responses=DatasetSerializer)
    def patch(self, request: Request, project: str, name: str) -> Response:
        """Change what is said about a dataset: its description, keywords and card."""
        in_project = get_project(request.actor, project)
        dataset = queries.get_dataset(request.actor, in_project, name)
        policy.require(request.actor, "dataset.describe", dataset)
        describe_dataset(actor=request.actor, dataset=dataset, **validate_body(DatasetChangesBody, request.data))
        changed = queries.get_dataset(request.actor, in_project, name)
        return Response(DatasetSerializer(changed, context={"request": request}).data)


class VersionsView(GenericAPIView[DatasetVersion]):
    """The versions of a dataset, newest first; POST adds one, and makes the dataset if there is none."""

    serializer_class = VersionSerializer
    queryset = DatasetVersion.objects.none()  # for the schema alone
    page_order = ("-number",)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        prevent_form_parsing(request._request)
        super().initial(request, *args, **kwargs)

    @extend_schema(
        operation_id="dataset_versions_list",
        parameters=build_day_parameters("made"),
        responses=VersionSerializer(many=True),
    )
    def get(self, request: Request, project: str, name: str) -> Response:
        dataset = queries.get_dataset(request.actor, get_project(request.actor, project), name)
        versions = queries.list_versions(request.actor, dataset)
        page = self.paginate_queryset(filter_between_days(versions, "created_at", request.query_params, "made"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="dataset_versions_add",
        parameters=[ReadingBody],
        request={**dict.fromkeys(TABLE_BODY_TYPES, OpenApiTypes.BINARY), "application/json": VersionBody},
        responses=ADDED,
    )
    def post(self, request: Request, project: str, name: str) -> Response:
        """A CSV body is read at once. Parquet, JSON lines and Arrow are read by a job, which makes the version: 202."""
        in_project = get_project(request.actor, project)
        policy.require(request.actor, "dataset.add_version", in_project)
        refuse_forms(request._request)
        registration.check_name(name)
        content_type = (request._request.content_type or "").lower()
        if content_type in TABLE_BODY_TYPES and content_type != CSV:
            result = add_body(request, in_project, name, TABLE_BODY_TYPES[content_type])
        else:
            result = (
                add_csv(request, in_project, name) if content_type == CSV else add_by_digest(request, in_project, name)
            )
        if isinstance(result, Job):
            return build_job_response(request, in_project, result, status.HTTP_202_ACCEPTED)
        version, created = result
        return Response(
            serialize_version_detail(version),
            status=status.HTTP_201_CREATED if created else status.HTTP_200_OK,
            headers={"Location": f"{request.path}/{version.number}"},
        )


class VersionView(APIView):
    @extend_schema(operation_id="dataset_versions_read", responses=VersionDetailSerializer)
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        return Response(serialize_version_detail(get_requested_version(request, project, name, version)))

    @extend_schema(operation_id="dataset_versions_delete", parameters=[ReasonQuery], responses={204: None})
    def delete(self, request: Request, project: str, name: str, version: str) -> Response:
        """Delete a version that nothing cites; `reason` goes into the audit trail."""
        dataset_version = get_requested_version(request, project, name, version)
        policy.require(request.actor, "dataset.delete_version", dataset_version)
        reason = validate_body(ReasonQuery, request.query_params)["reason"]
        delete_version(actor=request.actor, version=dataset_version, reason=reason)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PreviewView(APIView):
    @extend_schema(operation_id="dataset_versions_preview", parameters=[PreviewQuery], responses=PreviewSerializer)
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        dataset_version = get_requested_version(request, project, name, version)
        limit = validate_body(PreviewQuery, request.query_params)["limit"]
        preview = mask_rows(dataset_version, queries.read_preview(request.actor, dataset_version, limit))
        return Response(PreviewSerializer(preview).data)


class QualityView(APIView):
    @extend_schema(
        operation_id="dataset_versions_quality",
        responses={200: OpenApiTypes.OBJECT, 204: OpenApiResponse(description="No job has measured it yet.")},
    )
    def get(self, request: Request, project: str, name: str, version: str) -> Response:
        report = queries.read_quality_report(request.actor, get_requested_version(request, project, name, version))
        return Response(report) if report is not None else Response(status=status.HTTP_204_NO_CONTENT)


class FileView(APIView):
    """The bytes of one file of a version, whole or a range."""

    @extend_schema(
        operation_id="dataset_versions_file",
        parameters=[PURPOSE],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, project: str, name: str, version: str, path: str) -> HttpResponseBase:
        in_project = get_project(request.actor, project)
        file = queries.get_file(request.actor, queries.get_version(request.actor, in_project, name, version), path)
        holding = get_holding(actor=request.actor, project=in_project, digest=file.artifact_id)
        holding.name, holding.media_type = path.rpartition("/")[2], file.media_type  # as this version calls it
        check_download(request.actor, holding, request._request)
        release_connection()
        return download(request._request, holding)


class VersionJobsView(APIView):
    @extend_schema(
        operation_id="dataset_versions_submit_job",
        parameters=[KEY],
        request={"application/json": {"$ref": "#/components/schemas/JobSubmission"}},
        responses={200: OpenApiResponse(JobDetailSerializer, "The key's first job."), 201: JobDetailSerializer},
    )
    def post(self, request: Request, project: str, name: str, version: str) -> Response:
        """Queue a job that takes this version's table as its input `table`; the body is that of POST jobs.

        What is left out follows from the version: the dataset to register in, and how its CSV file is read.
        """
        in_project = get_project(request.actor, project)
        policy.require(request.actor, "job.submit", in_project)
        dataset_version = queries.get_version(request.actor, in_project, name, version)
        body = add_table_input(request.data, dataset_version, queries.get_main_file(request.actor, dataset_version))
        submission = read_submission(body, idempotency_key=request.headers.get("Idempotency-Key"))
        job, is_new = submit_job(actor=request.actor, project=in_project, submission=submission)
        data = serialize_job(request, in_project, job)
        headers = {"Location": data["links"]["self"]}
        if is_new:
            return Response(data, status=status.HTTP_201_CREATED, headers=headers)
        return Response(data, headers={**headers, "Idempotent-Replayed": "true"})


def add_csv(request: Request, project: Project, name: str) -> Added | Job:
    """Store a CSV body while it is received, then parse all of it; delimiter and encoding come from the query."""
    options = validate_body(ReadingBody, request.query_params)
    dialect_fields = options["delimiter"], options["encoding"]
    check_dialect_options(*dialect_fields)
    body = open_body(request._request)
    release_connection()
    published = publish_upload(
        actor=request.actor,
        project=project,
        stream=body.chunks,
        expected_size=body.length,
        name=f"{name}.csv",
        media_type=CSV if AUTO in dialect_fields else format_csv_type(CsvDialect(*dialect_fields)),
    )
    return add_stored_csv(request, project, name, published.artifact, options)


def add_body(request: Request, project: Project, name: str, kind: str) -> Added | Job:
    """Store a table body other than CSV; a job parses it and creates the version."""
    options = validate_body(AddingBody, request.query_params)
    policy.require(request.actor, "job.submit", project)
    body = open_body(request._request)
    release_connection()
    published = publish_upload(
        actor=request.actor,
        project=project,
        stream=body.chunks,
        expected_size=body.length,
        name=get_table_path(kind).replace("table", name, 1),
        media_type=kind,
    )
    return add_stored_table(request, project, name, published.artifact, kind, options)


def add_stored_table(
    request: Request, project: Project, name: str, artifact: Artifact, kind: str, options: dict[str, Any], **more: bool
) -> Added | Job:
    """`ingest_table`; if that gives a version at once, also queue its profile job on request."""
    target: dict[str, Any] = {"actor": request.actor, "project": project, "dataset_name": name, "note": options["note"]}
    result = ingest_table(artifact=artifact, kind=kind, **target, **more)
    return result if isinstance(result, Job) else queue_measurement(request, result, options["measure"])


def add_stored_csv(
    request: Request, project: Project, name: str, artifact: Artifact, options: dict[str, Any]
) -> Added | Job:
    """Add a stored CSV file as a version, or queue the job that does so if the dataset requires a check."""
    measure = options.pop("measure")
    result = ingest_csv(actor=request.actor, project=project, dataset_name=name, artifact=artifact, **options)
    return result if isinstance(result, Job) else queue_measurement(request, result, measure)


def queue_measurement(request: Request, result: Added, is_requested: bool) -> Added:
    """Queue the profile job of a version if `is_requested`, and return `result` unchanged.

    An existing version is only profiled for a user who may submit jobs: otherwise anybody could queue a job that
    always fails again and again.
    """
    version, is_new = result
    if is_requested and (is_new or policy.is_allowed(request.actor, "job.submit", version)):
        measure_added(actor=request.actor, version=version)
    return result


def add_by_digest(request: Request, project: Project, name: str) -> Added | Job:
    """Add a version of artifacts that the project holds: CSV is parsed, other tables and files are added unread.

    The table of a list of files is checked against the dataset's expectations during the request.
    """
    body = validate_body(VersionBody, request.data)
    if "files" in body:
        files = [(file["path"], file["digest"], file["media_type"]) for file in body["files"]]
        result = ingest_files(actor=request.actor, project=project, dataset_name=name, files=files, note=body["note"])
        return result if isinstance(result, Job) else queue_measurement(request, result, body["measure"])
    holding = get_holding(actor=request.actor, project=project, digest=body.pop("artifact"))
    kind = TABLE_BODY_TYPES.get(holding.media_type, CSV)
    if kind == CSV:
        kind = TABLE_BODY_TYPES.get(guess_media_type(holding.name), CSV)
    if kind != CSV:
        return add_stored_table(request, project, name, holding.artifact, kind, body, unread=True)
    return add_stored_csv(request, project, name, holding.artifact, body)


def get_requested_version(request: Request, project: str, name: str, version: str) -> DatasetVersion:
    return queries.get_version(request.actor, get_project(request.actor, project), name, version)


def serialize_version_detail(version: DatasetVersion) -> dict[str, Any]:
    """Serialize a version that the caller may see, or has just created."""
    version.listed = listed = queries.load_files(version, queries.MAX_FILES_LISTED)  # type: ignore[attr-defined]
    few = len(listed) < queries.MAX_FILES_LISTED
    version.counted = len(listed) if few else version.files.count()  # type: ignore[attr-defined]
    return dict(VersionDetailSerializer(version).data)
