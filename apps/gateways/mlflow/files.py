"""mlflow-artifacts/*, artifacts/list, get-artifact: the files of runs, logged models and versions, by their paths.

Bodies are streamed both ways. What an address may name is decided by apps/ml/experiments/files/tree.py.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from apps.core.errors import Invalid
from apps.core.policy import require
from apps.gateways.mlflow import tickets
from apps.gateways.mlflow.request import MlflowCall, parse_query
from apps.gateways.mlflow.responses import (
    MlflowError,
    build_json_response,
    invalid_parameter_error,
    missing_resource_error,
)
from apps.ml.experiments.files import tree
from apps.ml.experiments.files.tree import ArtifactPlace, Entry, Owner
from apps.ml.experiments.models import Run
from apps.ml.experiments.services.files import delete_files, put_file
from apps.ml.registry import downloads
from apps.platform.artifacts.api import release_connection
from apps.platform.artifacts.downloads import check_download, download
from apps.platform.artifacts.file_names import OCTETS
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.request_body import Body, open_body

FILES, SIGNED, PRESIGNED = "artifacts", "signed", "presigned"
MLMODEL = "MLmodel"  # YAML, without an ending that would say so


def handle_file_request(call: MlflowCall, path: str) -> HttpResponseBase:
    """.../mlflow-artifacts/artifacts[/<path>]: read, written, deleted; without a path the list of a folder."""
    path = path.partition("/mlflow-artifacts/artifacts")[2].removeprefix("/")
    match call.request.method:
        case "GET" | "HEAD":
            return send_file(call, path) if path else list_folder(call)
        case "PUT":
            return store_file(call, path)
        case "DELETE":
            owner, place = find_writable_owner(
                call, clean_path(path)
            )  # as it is spelt: another spelling may name another file
            if owner:
                delete_files(actor=call.actor, owner=owner, path=place.path)
            return build_json_response({})
    raise MlflowError("METHOD_NOT_ALLOWED", f"{call.request.method} is not a method of a file: DELETE, GET, PUT.")


def list_folder(call: MlflowCall) -> HttpResponse:
    """The names in a folder, relative to it; nothing where it is a file, or is not there."""
    path = (parse_query(call.request).get("path") or [""])[0]
    places = [place for spelling in list_spellings(path) if (place := tree.parse_place(spelling))]
    entries = next((files for place in places if (files := serialize_entries(list_entries(call, place)))), [])
    return build_json_response({"files": entries} if entries else {})


def send_file(call: MlflowCall, path: str) -> HttpResponseBase:
    holding = find_file(call, path)
    if holding is None:
        raise missing_resource_error(f"No such artifact: '{path}'")
    check_download(call.actor, holding, call.request)
    release_connection()
    return download(call.request, holding)


def store_file(call: MlflowCall, path: str) -> HttpResponse:
    owner, place = find_writable_owner(call, clean_path(path))
    if owner is None:
        raise missing_resource_error(f"No run and no model of this project keeps files at '{path[:200]}'.")
    body = get_request_body(call.request)
    put_file(
        actor=call.actor,
        owner=owner,
        path=place.path,
        stream=stream_without_connection(body.chunks),
        size=body.length,
        media_type=get_media_type(call.request, place.path),
    )
    return HttpResponse(b"")


def presign_download(call: MlflowCall, path: str) -> HttpResponse:
    """.../mlflow-artifacts/presigned/<path>: an address that needs no token, for ranges in parallel."""
    path = path.partition("/mlflow-artifacts/presigned/")[2]
    holding = find_file(call, path)
    if holding is None:
        raise missing_resource_error(f"No such artifact: '{path}'")
    check_download(call.actor, holding, call.request)
    ticket = tickets.sign_download(call.actor, call.project_id, holding)
    address = call.request.build_absolute_uri(
        f"{get_artifacts_root(call.request)}/signed/{quote(holding.name)}?ticket={ticket}"
    )
    return build_json_response({"url": address, "file_size": holding.artifact.size})


def send_signed_file(request: HttpRequest, path: str) -> HttpResponseBase:
    """Send the file of a presigned address; its ticket stands for the token."""
    holding = tickets.read_download_ticket(request)
    release_connection()
    return download(request, holding)


def get_artifact(call: MlflowCall, path: str) -> HttpResponseBase:
    """/get-artifact?run_id=&path=: for links."""
    if call.request.method not in {"GET", "HEAD"}:
        raise MlflowError("METHOD_NOT_ALLOWED", f"{call.request.method} is not a method of a link to a file: GET.")
    require(call.actor, "run.view", call)
    query = {name: values[0] for name, values in parse_query(call.request).items()}
    run_id, artifact_path = query.get("run_id") or query.get("run_uuid") or "", query.get("path", "")
    if not run_id or not artifact_path:
        raise invalid_parameter_error(f"Missing value for required parameter '{'path' if run_id else 'run_id'}'.")
    run = get_artifact_run(call, run_id)
    holding = next(
        (candidate for path in list_spellings(artifact_path) if (candidate := find_owner_file(call, run, path))), None
    )
    if holding is None:
        raise missing_resource_error(f"No such artifact: '{artifact_path}'")
    check_download(call.actor, holding, call.request)
    release_connection()
    return download(call.request, holding)


def list_run_files(call: MlflowCall) -> dict[str, Any]:
    """artifacts/list: the names in a folder of a run, by their paths from its root, so many at a time."""
    run = get_artifact_run(call, call.get_run_id())
    after = tickets.decode_name_token(call.get_text("page_token"))
    rows = tree.list_files(run)
    for folder in list_spellings(call.get_text("path")):
        entries = tree.list_entries(rows, folder, after=after, limit=tree.FOLDER_PAGE + 1)
        if entries:
            break
    page, more = entries[: tree.FOLDER_PAGE], entries[tree.FOLDER_PAGE :]
    payload: dict[str, Any] = {"root_uri": tree.get_artifact_uri(run)}
    if page:
        payload["files"] = serialize_entries(page, folder)
    if more:
        payload["next_page_token"] = tickets.encode_name_token(page[-1].name)
    return payload


# -- what lies where ------------------------------------------------------------------------------------------------
def clean_path(path: str) -> str:
    """A relative path; "Invalid path" as MLflow says it, which its clients' tests look for."""
    return list_spellings(path)[0]


def list_spellings(path: str) -> list[str]:
    """The names that a path may stand for, where something is read: as it was sent, then with its encodings undone.

    MLflow's client puts the name `a%20b` into addresses as it is, so that it is stored as `a b`, and asks for it by a
    query as `a%20b`.
    """
    try:
        literal = tree.normalize_path(path)
        decoded = literal
        while (next_decoded := unquote(decoded)) != decoded:
            decoded = next_decoded
        return list(dict.fromkeys((literal, tree.normalize_path(decoded))))
    except Invalid as error:
        raise invalid_parameter_error(error.message) from error


def find_writable_owner(call: MlflowCall, path: str) -> tuple[Owner | None, ArtifactPlace]:
    """The run or logged model that a checked path belongs to, and the place; None where the project has none such."""
    require(call.actor, "run.track", call)
    place = tree.parse_place(path)
    if place is None:
        return None, ArtifactPlace()
    if place.version is not None:
        raise MlflowError("PERMISSION_DENIED", "The files of a model version never change. Register another version.")
    return tree.find_owner(call.actor, call.project, place), place


def list_entries(call: MlflowCall, place: ArtifactPlace) -> list[Entry]:
    if place.version is not None:
        return downloads.list_folder_entries(call.actor, call.project, place.version, place.path)
    owner = tree.find_owner(call.actor, call.project, place)
    return tree.list_entries(tree.list_files(owner), place.path) if owner else []


def find_file(call: MlflowCall, path: str) -> Holding | None:
    """The file at a path as what is sent: its bytes, name and media type. None where there is no file."""
    places = [tree.parse_place(spelling) for spelling in list_spellings(path)]
    return next((holding for place in places if (holding := find_file_at_place(call, place))), None)


def find_file_at_place(call: MlflowCall, place: ArtifactPlace | None) -> Holding | None:
    if place is None or not place.path:
        return None
    if place.version is not None:
        row = downloads.find_file(call.actor, call.project, place.version, place.path)
        return build_holding(call, *row) if row else None
    owner = tree.find_owner(call.actor, call.project, place)
    return find_owner_file(call, owner, place.path) if owner else None


def find_owner_file(call: MlflowCall, owner: Owner, path: str) -> Holding | None:
    row = tree.find_file(owner, path)
    return build_holding(call, row.artifact, path, row.media_type) if row else None


def build_holding(call: MlflowCall, artifact: Artifact, path: str, media_type: str) -> Holding:
    name = path.rpartition("/")[2]
    kind = guess_media_type(path) if media_type == OCTETS else media_type
    return Holding(project_id=call.project_id, artifact=artifact, name=name, media_type=kind)


def get_artifact_run(call: MlflowCall, run_id: str) -> Run:
    rows = Run.objects.select_related("experiment").defer("environment", "figures")
    row = rows.filter(pk=run_id, project_id=call.project_id).first()
    if row is None:
        raise missing_resource_error(f"Run with id={run_id} not found")
    return row


def serialize_entries(entries: Iterable[Entry], folder: str = "") -> list[dict[str, Any]]:
    """As FileInfo; `folder`: what their paths begin with. No size says 0, as the reference has it."""
    prefix = f"{folder}/" if folder else ""
    infos: list[dict[str, Any]] = []
    for entry in entries:
        info: dict[str, Any] = {"path": prefix + entry.name, "is_dir": entry.is_folder}
        if entry.size and not entry.is_folder:
            info["file_size"] = entry.size
        infos.append(info)
    return infos


# -- bodies ---------------------------------------------------------------------------------------------------------
def get_request_body(request: HttpRequest) -> Body:
    """The body of a PUT; of one that tells no length and is not chunked there is none (RFC 9112)."""
    if not request.META.get("CONTENT_LENGTH") and "HTTP_TRANSFER_ENCODING" not in request.META:
        return Body(iter(()), 0)
    return open_body(request)


def stream_without_connection(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The body; the database connection goes back before the first byte, which may be followed by hours of others."""
    release_connection()
    yield from chunks


def get_media_type(request: HttpRequest, path: str) -> str:
    """The media type as sent, else by the name."""
    return request.META.get("CONTENT_TYPE", "") or guess_media_type(path)


def guess_media_type(path: str) -> str:
    if path.rpartition("/")[2] == MLMODEL:
        return "text/plain"
    return mimetypes.guess_type(path)[0] or OCTETS


def get_artifacts_root(request: HttpRequest) -> str:
    """The path of this service, with whatever a proxy has put before it."""
    return request.path.partition("/mlflow-artifacts/")[0] + "/mlflow-artifacts"
