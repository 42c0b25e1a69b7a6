"""An MLflow server, asked by the REST calls of its own client, page by page; files by the server's proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from apps.core.canonical import sha256_hex
from apps.core.errors import Invalid
from apps.gateways.mlflow_import.read_guard import guarded
from apps.gateways.mlflow_import.source_records import (
    RUN_STATES,
    FoundDataset,
    FoundExperiment,
    FoundFile,
    FoundLoggedModel,
    FoundModelMetric,
    FoundPoint,
    FoundRegisteredModel,
    FoundRun,
    FoundVersion,
    Link,
    Unreadable,
)
from apps.gateways.mlflow_import.transport import NotThere, Transport

API = "/api/2.0/mlflow"
PROXY = "/api/2.0/mlflow-artifacts/artifacts"
EXPERIMENTS, RUNS, POINTS, MODELS, VERSIONS = 1000, 100, 25_000, 100, 500  # of one page
DEPTH = 100  # folders within each other
MODEL_PREFIX = "LOGGED_MODEL_"
Owner = FoundRun | FoundLoggedModel


class Server:
    def __init__(self, transport: Transport) -> None:
        self.transport, self.name = transport, transport.base

    def pages(
        self, path: str, name: str, query: Mapping[str, Any] | None = None, body: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The rows of every page; a page is asked for when the one before is used up."""
        token = ""
        while True:
            more = {"page_token": token} if token else {}
            asked = {**body, **more} if body is not None else None
            answer = self.transport.json(path, None if body is not None else {**(query or {}), **more}, asked)
            rows = answer.get(name) or []
            if not isinstance(rows, list):
                raise Unreadable(f"{name} of {path} is no list")
            yield from (row if isinstance(row, dict) else {} for row in rows)
            former, token = token, str(answer.get("next_page_token") or "")
            if not token:
                return
            if token == former:
                raise Unreadable(f"{path} gives the same page again and again")

    # -- experiments and runs ---------------------------------------------------------------------------------------
    def experiments(self) -> Iterator[FoundExperiment | Unreadable]:
        query = {"view_type": "ALL", "max_results": EXPERIMENTS}
        try:
            for row in self.pages(f"{API}/experiments/search", "experiments", query):
                yield guarded(f"experiment {row.get('experiment_id')}", experiment_of, row)
        except Unreadable as error:
            raise Invalid(
                f"{self.name} does not answer as an MLflow server does: {error}.",
                code="no_mlflow_server",
                field="SOURCE",
                hint="Give the address that MLFLOW_TRACKING_URI has.",
            ) from None

    def runs(self, experiment: FoundExperiment) -> Iterator[FoundRun | Unreadable]:
        """By the time they began: those that begin meanwhile come behind and move no page."""
        body = {
            "experiment_ids": [experiment.id],
            "run_view_type": "ALL",
            "max_results": RUNS,
            "order_by": ["attributes.start_time ASC"],
        }
        for row in self.pages(f"{API}/runs/search", "runs", body=body):
            yield guarded(f"run {named(row, 'run_id')}", self.whole_run, row)

    def whole_run(self, row: Mapping[str, Any]) -> FoundRun:
        """A search leaves out the models that a run read: only `runs/get` tells them."""
        found = run_of(row)
        return run_of(self.transport.json(f"{API}/runs/get", {"run_id": found.id, "run_uuid": found.id})["run"])

    def history(self, run: FoundRun, key: str) -> Iterator[FoundPoint]:
        query = {"run_id": run.id, "run_uuid": run.id, "metric_key": key, "max_results": POINTS}
        for row in self.pages(f"{API}/metrics/get-history", "metrics", query):
            try:
                yield FoundPoint(float(row["value"]), int(row.get("step") or 0), int(row["timestamp"]))
            except (KeyError, TypeError, ValueError):
                raise Unreadable(f"a point of metric {key!r} is none: {str(row)[:80]}") from None

    # -- models -----------------------------------------------------------------------------------------------------
    def logged_models(self, experiment: FoundExperiment) -> Iterator[FoundLoggedModel | Unreadable]:
        order = [{"field_name": "creation_timestamp", "ascending": True}]
        body = {"experiment_ids": [experiment.id], "max_results": MODELS, "order_by": order}
        try:
            for row in self.pages(f"{API}/logged-models/search", "models", body=body):
                yield guarded(f"logged model {named(row, 'model_id')}", logged_model_of, row)
        except NotThere:  # a server of before MLflow 3
            return

    def registered_models(self) -> Iterator[FoundRegisteredModel | Unreadable]:
        query = {"max_results": MODELS}
        for row in self.pages(f"{API}/registered-models/search", "registered_models", query):
            name = str(row.get("name"))
            yield guarded(f"registered model {name!r}", self.registered_model, name)

    def registered_model(self, name: str) -> FoundRegisteredModel:
        row = self.transport.json(f"{API}/registered-models/get", {"name": name})["registered_model"]
        return FoundRegisteredModel(
            name=name,
            description=text(row, "description"),
            created=whole(row, "creation_timestamp"),
            updated=whole(row, "last_updated_timestamp"),
            tags=pairs(row.get("tags")),
            aliases={str(each["alias"]): int(each["version"]) for each in row.get("aliases") or []},
        )

    def versions(self, model: FoundRegisteredModel) -> Iterator[FoundVersion | Unreadable]:
        mark = '"' if "'" in model.name else "'"
        if mark in model.name:
            yield Unreadable(f"registered model {model.name!r}: no filter of MLflow's can name it")
            return
        query = {
            "filter": f"name={mark}{model.name}{mark}",
            "max_results": VERSIONS,
            "order_by": "version_number ASC",
        }
        for row in self.pages(f"{API}/model-versions/search", "model_versions", query):
            yield guarded(f"version {row.get('version')} of {model.name!r}", version_of, row, model.name)

    # -- artifacts --------------------------------------------------------------------------------------------------
    def files(self, owner: Owner) -> Iterator[FoundFile | Unreadable]:
        try:
            yield from self.below(owner, "", 0)
        except Unreadable as error:
            yield Unreadable(f"its files cannot be listed: {error}")

    def below(self, owner: Owner, folder: str, depth: int) -> Iterator[FoundFile | Unreadable]:
        if depth > DEPTH:
            raise Unreadable(f"more than {DEPTH} folders lie within each other")
        for path, is_folder, size in self.listed(owner, folder):
            if is_folder:
                yield from self.below(owner, path, depth + 1)
            else:
                yield FoundFile(path, size)

    def listed(self, owner: Owner, folder: str) -> list[tuple[str, bool, int]]:
        """(path below the owner's root, whether it is a folder, bytes) of what lies in a folder of it."""
        within = proxied(owner.artifact_uri)
        if within is not None:
            rows = self.transport.json(PROXY, {"path": f"{within}/{folder}".strip("/")}).get("files") or []
            found = [(f"{folder}/{text(row, 'path')}".lstrip("/"), row) for row in rows]
        elif isinstance(owner, FoundRun):
            rows = list(self.pages(f"{API}/artifacts/list", "files", {"run_id": owner.id, "path": folder}))
            found = [(text(row, "path"), row) for row in rows]
        else:
            path = f"{API}/logged-models/{owner.id}/artifacts/directories"
            rows = list(self.pages(path, "files", {"artifact_directory_path": folder}))
            found = [(text(row, "path"), row) for row in rows]
        start = f"{folder}/" if folder else ""
        for path, _ in found:  # or a listing that names its own folder would have no end
            if not path.startswith(start) or len(path) <= len(start):
                raise Unreadable(f"{path[:80]!r} does not lie in {folder!r}")
        return [(path, bool(row.get("is_dir")), int(row.get("file_size") or 0)) for path, row in found]

    def read(self, owner: Owner, file: FoundFile) -> Iterator[bytes]:
        within = proxied(owner.artifact_uri)
        if within is not None:
            return self.transport.chunks(f"{PROXY}/{quote(f'{within}/{file.path}'.strip('/'))}")
        if isinstance(owner, FoundRun):
            return self.transport.chunks("/get-artifact", {"path": file.path, "run_uuid": owner.id})
        path = f"/ajax-api/2.0/mlflow/logged-models/{owner.id}/artifacts/files"
        return self.transport.chunks(path, {"artifact_file_path": file.path})


def proxied(uri: str) -> str | None:
    """The path behind the server's proxy that an artifact_uri means; None for another store."""
    parts = urlsplit(uri)
    return unquote(parts.path).strip("/") if parts.scheme == "mlflow-artifacts" else None


# -- rows -----------------------------------------------------------------------------------------------------------
def experiment_of(row: Mapping[str, Any]) -> FoundExperiment:
    return FoundExperiment(
        id=str(row["experiment_id"]),
        name=str(row["name"]),
        created=whole(row, "creation_time"),
        updated=whole(row, "last_update_time"),
        deleted=row.get("lifecycle_stage") == "deleted",
        tags=pairs(row.get("tags")),
    )


def run_of(row: Mapping[str, Any]) -> FoundRun:
    info, data = row["info"], row.get("data") or {}
    state = str(info.get("status", "RUNNING")).lower()
    if state not in RUN_STATES.values():
        raise Unreadable(f"{state[:40]!r} is no status")
    metrics = sorted(data.get("metrics") or [], key=lambda each: str(each["key"]))
    newest = [[str(each.get(name)) for name in ("key", "value", "step", "timestamp")] for each in metrics]
    ended = whole(info, "end_time")
    inputs, outputs = row.get("inputs") or {}, row.get("outputs") or {}
    links = [Link(model_id=str(each["model_id"]), direction="input") for each in inputs.get("model_inputs") or []]
    links += [
        Link(model_id=str(each["model_id"]), direction="output", step=int(each.get("step") or 0))
        for each in outputs.get("model_outputs") or []
    ]
    run_id = str(info.get("run_id") or info["run_uuid"])
    return FoundRun(
        id=run_id,
        experiment_id=str(info["experiment_id"]),
        name=text(info, "run_name") or run_id,
        user=text(info, "user_id"),
        state=state,
        started=whole(info, "start_time"),
        ended=ended,
        deleted=info.get("lifecycle_stage") == "deleted",
        params=pairs(data.get("params")),
        tags=pairs(data.get("tags")),
        metric_keys=[str(each["key"]) for each in metrics],
        datasets=[dataset_of(each) for each in inputs.get("dataset_inputs") or []],
        links=links,
        artifact_uri=text(info, "artifact_uri"),
        mark=sha256_hex(f"{state} {ended} {newest}") if state not in ("running", "scheduled") else "",
    )


def dataset_of(row: Mapping[str, Any]) -> FoundDataset:
    told = row["dataset"]
    return FoundDataset(
        name=str(told["name"]),
        digest=str(told["digest"]),
        tags=pairs(row.get("tags")),
        **{name: text(told, name) for name in ("source_type", "source", "schema", "profile")},
    )


def logged_model_of(row: Mapping[str, Any]) -> FoundLoggedModel:
    info, data = row["info"], row.get("data") or {}
    metrics = [
        FoundModelMetric(
            key=str(each["key"]),
            value=float(each["value"]),
            step=int(each.get("step") or 0),
            at=int(each["timestamp"]),
            run_id=text(each, "run_id"),
            dataset_name=text(each, "dataset_name"),
            dataset_digest=text(each, "dataset_digest"),
        )
        for each in data.get("metrics") or []
    ]
    return FoundLoggedModel(
        id=str(info["model_id"]),
        experiment_id=str(info["experiment_id"]),
        name=str(info["name"]),
        model_type=text(info, "model_type"),
        state=str(info.get("status") or "UNSPECIFIED").removeprefix(MODEL_PREFIX).lower(),
        run_id=text(info, "source_run_id"),
        created=whole(info, "creation_timestamp_ms"),
        updated=whole(info, "last_updated_timestamp_ms"),
        params=pairs(data.get("params")),
        tags=pairs(info.get("tags")),
        metrics=metrics,
        artifact_uri=text(info, "artifact_uri"),
    )


def version_of(row: Mapping[str, Any], name: str) -> FoundVersion:
    return FoundVersion(
        name=name,
        number=int(row["version"]),
        created=whole(row, "creation_timestamp"),
        updated=whole(row, "last_updated_timestamp"),
        stage=text(row, "current_stage") or "None",
        tags=pairs(row.get("tags")),
        **{key: text(row, key) for key in ("source", "run_id", "model_id", "run_link", "description")},
    )


def named(row: Any, name: str) -> str:
    """How a row is called, however broken it is."""
    info = row.get("info") if isinstance(row, dict) else None
    return str(info.get(name)) if isinstance(info, dict) else repr(row)[:80]


def pairs(rows: Any) -> dict[str, str]:
    return {str(each["key"]): text(each, "value") for each in rows or []}


def text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


def whole(row: Mapping[str, Any], name: str) -> int | None:
    value = row.get(name)
    return None if value in (None, "") else int(value)
