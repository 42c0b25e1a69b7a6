"""mlflow-artifacts/*, artifacts/list, get-artifact: the files of runs, logged models and versions, by their paths.

Bodies are streamed both ways and never held. What an address may name is decided by apps/ml/experiments/files/tree.py.
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
from apps.gateways.mlflow.request import Ask, query_of
from apps.gateways.mlflow.responses import MlflowError, absent, answered, wrong
from apps.ml.experiments.files import tree
from apps.ml.experiments.files.tree import Entry, Owner, Place
from apps.ml.experiments.models import Run
from apps.ml.experiments.services.files import delete_files, put_file
from apps.ml.registry import downloads
from apps.platform.artifacts.api import release_connection
from apps.platform.artifacts.downloads import download
from apps.platform.artifacts.file_names import OCTETS
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.request_body import Body, body_of

FILES, SIGNED, PRESIGNED = "artifacts", "signed", "presigned"
MLMODEL = "MLmodel"  # YAML, without an ending that would say so


def files(ask: Ask, path: str) -> HttpResponseBase:
    """.../mlflow-artifacts/artifacts[/<path>]: read, written, deleted; without a path the list of a folder."""
    path = path.partition("/mlflow-artifacts/artifacts")[2].removeprefix("/")
    match ask.request.method:
        case "GET" | "HEAD":
            return file_sent(ask, path) if path else folder_told(ask)
        case "PUT":
            return taken_in(ask, path)
        case "DELETE":
            owner, place = writable(ask, clean(path))  # as it is spelt: another spelling may name another file
            if owner:
                delete_files(actor=ask.actor, owner=owner, path=place.path)
            return answered({})
    raise MlflowError("METHOD_NOT_ALLOWED", f"{ask.request.method} is not a method of a file: DELETE, GET, PUT.")


def folder_told(ask: Ask) -> HttpResponse:
    """The names in a folder, relative to it; nothing where it is a file, or is not there."""
    path = (query_of(ask.request).get("path") or [""])[0]
    places = [place for spelling in spellings(path) if (place := tree.place_at(spelling))]
    found = next((files for place in places if (files := listed(entries_at(ask, place)))), [])
    return answered({"files": found} if found else {})


def file_sent(ask: Ask, path: str) -> HttpResponseBase:
    found = holding_at(ask, path)
    if found is None:
        raise absent(f"No such artifact: '{path}'")
    release_connection()
    return download(ask.request, found)


def taken_in(ask: Ask, path: str) -> HttpResponse:
    owner, place = writable(ask, clean(path))
    if owner is None:
        raise absent(f"No run and no model of this project keeps files at '{path[:200]}'.")
    body = sent(ask.request)
    put_file(
        actor=ask.actor,
        owner=owner,
        path=place.path,
        stream=released(body.chunks),
        size=body.length,
        media_type=kind_of(ask.request, place.path),
    )
    return HttpResponse(b"")


def presigned(ask: Ask, path: str) -> HttpResponse:
    """.../mlflow-artifacts/presigned/<path>: an address that needs no token, for ranges in parallel."""
    path = path.partition("/mlflow-artifacts/presigned/")[2]
    found = holding_at(ask, path)
    if found is None:
        raise absent(f"No such artifact: '{path}'")
    word = tickets.for_download(ask.actor, ask.project_id, found)
    address = ask.request.build_absolute_uri(f"{root_of(ask.request)}/signed/{quote(found.name)}?ticket={word}")
    return answered({"url": address, "file_size": found.artifact.size})


def signed_file(request: HttpRequest, path: str) -> HttpResponseBase:
    """The address that `presigned` gave: its ticket stands for the token."""
    found = tickets.download_of(request)
    release_connection()
    return download(request, found)


def get_artifact(ask: Ask, path: str) -> HttpResponseBase:
    """/get-artifact?run_id=&path=: for links."""
    if ask.request.method not in {"GET", "HEAD"}:
        raise MlflowError("METHOD_NOT_ALLOWED", f"{ask.request.method} is not a method of a link to a file: GET.")
    require(ask.actor, "run.view", ask)
    query = {name: values[0] for name, values in query_of(ask.request).items()}
    run_id, wanted = query.get("run_id") or query.get("run_uuid") or "", query.get("path", "")
    if not run_id or not wanted:
        raise wrong(f"Missing value for required parameter '{'path' if run_id else 'run_id'}'.")
    run = run_found(ask, run_id)
    found = next((held for path in spellings(wanted) if (held := holding_of(ask, run, path))), None)
    if found is None:
        raise absent(f"No such artifact: '{wanted}'")
    release_connection()
    return download(ask.request, found)


def list_of_run(ask: Ask) -> dict[str, Any]:
    """artifacts/list: the names in a folder of a run, by their paths from its root, so many at a time."""
    run = run_found(ask, ask.run_id())
    after = tickets.name_of(ask.text("page_token"))
    rows = tree.files_of(run)
    for folder in spellings(ask.text("path")):
        entries = tree.entries_of(rows, folder, after=after, limit=tree.FOLDER_PAGE + 1)
        if entries:
            break
    shown, more = entries[: tree.FOLDER_PAGE], entries[tree.FOLDER_PAGE :]
    told: dict[str, Any] = {"root_uri": tree.address_of(run)}
    if shown:
        told["files"] = listed(shown, folder)
    if more:
        told["next_page_token"] = tickets.token_of(shown[-1].name)
    return told


# -- what lies where ------------------------------------------------------------------------------------------------
def clean(path: str) -> str:
    """A relative path; "Invalid path" as MLflow says it, which its clients' tests look for."""
    return spellings(path)[0]


def spellings(path: str) -> list[str]:
    """The names that a path may stand for, where something is read: as it was sent, then with its encodings undone.

    MLflow's client puts the name `a%20b` into addresses as it is, so that it is stored as `a b`, and asks for it by a
    query as `a%20b`.
    """
    try:
        literal = tree.checked_path(path)
        plain = literal
        while (next_one := unquote(plain)) != plain:
            plain = next_one
        return list(dict.fromkeys((literal, tree.checked_path(plain))))
    except Invalid as error:
        raise wrong(error.message) from error


def writable(ask: Ask, path: str) -> tuple[Owner | None, Place]:
    """The run or logged model that a checked path belongs to, and the place; None where the project has none such."""
    require(ask.actor, "run.track", ask)
    place = tree.place_at(path)
    if place is None:
        return None, Place()
    if place.version is not None:
        raise MlflowError("PERMISSION_DENIED", "The files of a model version never change. Register another version.")
    return tree.owner_at(ask.actor, ask.project, place), place


def entries_at(ask: Ask, place: Place) -> list[Entry]:
    if place.version is not None:
        return downloads.entries_of(ask.actor, ask.project, place.version, place.path)
    owner = tree.owner_at(ask.actor, ask.project, place)
    return tree.entries_of(tree.files_of(owner), place.path) if owner else []


def holding_at(ask: Ask, path: str) -> Holding | None:
    """The file at a path as what is sent: its bytes, name and media type. None where there is no file."""
    places = [tree.place_at(spelling) for spelling in spellings(path)]
    return next((held for place in places if (held := holding_of_place(ask, place))), None)


def holding_of_place(ask: Ask, place: Place | None) -> Holding | None:
    if place is None or not place.path:
        return None
    if place.version is not None:
        row = downloads.file_at(ask.actor, ask.project, place.version, place.path)
        return held(ask, *row) if row else None
    owner = tree.owner_at(ask.actor, ask.project, place)
    return holding_of(ask, owner, place.path) if owner else None


def holding_of(ask: Ask, owner: Owner, path: str) -> Holding | None:
    row = tree.file_at(owner, path)
    return held(ask, row.artifact, path, row.media_type) if row else None


def held(ask: Ask, artifact: Artifact, path: str, media_type: str) -> Holding:
    name = path.rpartition("/")[2]
    kind = kind_by_name(path) if media_type == OCTETS else media_type
    return Holding(project_id=ask.project_id, artifact=artifact, name=name, media_type=kind)


def run_found(ask: Ask, run_id: str) -> Run:
    rows = Run.objects.select_related("experiment").defer("environment", "figures")
    row = rows.filter(pk=run_id, project_id=ask.project_id).first()
    if row is None:
        raise absent(f"Run with id={run_id} not found")
    return row


def listed(entries: Iterable[Entry], folder: str = "") -> list[dict[str, Any]]:
    """As FileInfo; `folder`: what their paths begin with. No size says 0, as the reference has it."""
    head = f"{folder}/" if folder else ""
    found: list[dict[str, Any]] = []
    for one in entries:
        info: dict[str, Any] = {"path": head + one.name, "is_dir": one.is_folder}
        if one.size and not one.is_folder:
            info["file_size"] = one.size
        found.append(info)
    return found


# -- bodies ---------------------------------------------------------------------------------------------------------
def sent(request: HttpRequest) -> Body:
    """The body of a PUT; of one that tells no length and is not chunked there is none (RFC 9112)."""
    if not request.META.get("CONTENT_LENGTH") and "HTTP_TRANSFER_ENCODING" not in request.META:
        return Body(iter(()), 0)
    return body_of(request)


def released(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The body; the database connection goes back before the first byte, which may be followed by hours of others."""
    release_connection()
    yield from chunks


def kind_of(request: HttpRequest, path: str) -> str:
    """The media type as sent, else by the name."""
    return request.META.get("CONTENT_TYPE", "") or kind_by_name(path)


def kind_by_name(path: str) -> str:
    if path.rpartition("/")[2] == MLMODEL:
        return "text/plain"
    return mimetypes.guess_type(path)[0] or OCTETS


def root_of(request: HttpRequest) -> str:
    """The path of this service, with whatever a proxy has put before it."""
    return request.path.partition("/mlflow-artifacts/")[0] + "/mlflow-artifacts"
