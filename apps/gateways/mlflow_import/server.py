"""Read an MLflow server by the REST calls of its own client, page by page; files through the server's proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from apps.core.canonical import sha256_hex
from apps.core.errors import Invalid
from apps.gateways.mlflow_import.read_guard import try_read
from apps.gateways.mlflow_import.source_records import (
    RUN_STATES,
    Link,
    SourceDataset,
    SourceExperiment,
    SourceFile,
    SourceLoggedModel,
    SourceModelMetric,
    SourcePoint,
    SourceRegisteredModel,
    SourceRun,
    SourceVersion,
    Unreadable,
)
from apps.gateways.mlflow_import.transport import Transport, UnknownObject

API = "/api/2.0/mlflow"
PROXY = "/api/2.0/mlflow-artifacts/artifacts"
EXPERIMENTS_PER_PAGE, RUNS_PER_PAGE, POINTS_PER_PAGE, MODELS_PER_PAGE, VERSIONS_PER_PAGE = (
    1000,
    100,
    25_000,
    100,
    500,
)  # of one page
MAX_FOLDER_DEPTH = 100  # folders within each other
MODEL_PREFIX = "LOGGED_MODEL_"
Owner = SourceRun | SourceLoggedModel


class MlflowServer:
    def __init__(self, transport: Transport) -> None:
        self.transport, self.name = transport, transport.base

    def iter_pages(
        self, path: str, name: str, query: Mapping[str, Any] | None = None, body: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """The rows of every page; a page is asked for when the one before is used up."""
        token = ""
        while True:
            more = {"page_token": token} if token else {}
            page_body = {**body, **more} if body is not None else None
            answer = self.transport.fetch_json(path, None if body is not None else {**(query or {}), **more}, page_body)
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
    def iter_experiments(self) -> Iterator[SourceExperiment | Unreadable]:
        query = {"view_type": "ALL", "max_results": EXPERIMENTS_PER_PAGE}
        try:
            for row in self.iter_pages(f"{API}/experiments/search", "experiments", query):
                yield try_read(f"experiment {row.get('experiment_id')}", parse_experiment, row)
        except Unreadable as error:
            raise Invalid(
                f"{self.name} does not answer as an MLflow server does: {error}.",
                code="no_mlflow_server",
                field="SOURCE",
                hint="Give the address that MLFLOW_TRACKING_URI has.",
            ) from None

    def iter_runs(self, experiment: SourceExperiment) -> Iterator[SourceRun | Unreadable]:
        """By the time they began: those that begin meanwhile come behind and move no page."""
        body = {
            "experiment_ids": [experiment.id],
            "run_view_type": "ALL",
            "max_results": RUNS_PER_PAGE,
            "order_by": ["attributes.start_time ASC"],
        }
        for row in self.iter_pages(f"{API}/runs/search", "runs", body=body):
            yield try_read(f"run {get_row_id(row, 'run_id')}", self.fetch_run, row)

    def fetch_run(self, row: Mapping[str, Any]) -> SourceRun:
        """A search leaves out the models that a run read: only `runs/get` tells them."""
        run = parse_run(row)
        return parse_run(self.transport.fetch_json(f"{API}/runs/get", {"run_id": run.id, "run_uuid": run.id})["run"])

    def iter_points(self, run: SourceRun, key: str) -> Iterator[SourcePoint]:
        query = {"run_id": run.id, "run_uuid": run.id, "metric_key": key, "max_results": POINTS_PER_PAGE}
        for row in self.iter_pages(f"{API}/metrics/get-history", "metrics", query):
            try:
                yield SourcePoint(float(row["value"]), int(row.get("step") or 0), int(row["timestamp"]))
            except (KeyError, TypeError, ValueError):
                raise Unreadable(f"a point of metric {key!r} is none: {str(row)[:80]}") from None

    # -- models -----------------------------------------------------------------------------------------------------
    def iter_logged_models(self, experiment: SourceExperiment) -> Iterator[SourceLoggedModel | Unreadable]:
        order = [{"field_name": "creation_timestamp", "ascending": True}]
        body = {"experiment_ids": [experiment.id], "max_results": MODELS_PER_PAGE, "order_by": order}
        try:
            for row in self.iter_pages(f"{API}/logged-models/search", "models", body=body):
                yield try_read(f"logged model {get_row_id(row, 'model_id')}", parse_logged_model, row)
        except UnknownObject:  # a server of before MLflow 3
            return

    def iter_registered_models(self) -> Iterator[SourceRegisteredModel | Unreadable]:
        query = {"max_results": MODELS_PER_PAGE}
        for row in self.iter_pages(f"{API}/registered-models/search", "registered_models", query):
            name = str(row.get("name"))
            yield try_read(f"registered model {name!r}", self.fetch_registered_model, name)

    def fetch_registered_model(self, name: str) -> SourceRegisteredModel:
        row = self.transport.fetch_json(f"{API}/registered-models/get", {"name": name})["registered_model"]
        return SourceRegisteredModel(
            name=name,
            description=get_text(row, "description"),
            created=get_int(row, "creation_timestamp"),
            updated=get_int(row, "last_updated_timestamp"),
            tags=parse_pairs(row.get("tags")),
            aliases={str(each["alias"]): int(each["version"]) for each in row.get("aliases") or []},
        )

    def iter_versions(self, model: SourceRegisteredModel) -> Iterator[SourceVersion | Unreadable]:
        mark = '"' if "'" in model.name else "'"
        if mark in model.name:
            yield Unreadable(f"registered model {model.name!r}: no filter of MLflow's can name it")
            return
        query = {
            "filter": f"name={mark}{model.name}{mark}",
            "max_results": VERSIONS_PER_PAGE,
            "order_by": "version_number ASC",
        }
        for row in self.iter_pages(f"{API}/model-versions/search", "model_versions", query):
            yield try_read(f"version {row.get('version')} of {model.name!r}", parse_version, row, model.name)

    # -- artifacts --------------------------------------------------------------------------------------------------
    def iter_files(self, owner: Owner) -> Iterator[SourceFile | Unreadable]:
        try:
            yield from self.iter_files_below(owner, "", 0)
        except Unreadable as error:
            yield Unreadable(f"its files cannot be listed: {error}")

    def iter_files_below(self, owner: Owner, folder: str, depth: int) -> Iterator[SourceFile | Unreadable]:
        if depth > MAX_FOLDER_DEPTH:
            raise Unreadable(f"more than {MAX_FOLDER_DEPTH} folders lie within each other")
        for path, is_folder, size in self.list_folder(owner, folder):
            if is_folder:
                yield from self.iter_files_below(owner, path, depth + 1)
            else:
                yield SourceFile(path, size)

    def list_folder(self, owner: Owner, folder: str) -> list[tuple[str, bool, int]]:
        """(path below the owner's root, whether it is a folder, bytes) of what lies in a folder of it."""
        proxy_path = get_proxy_path(owner.artifact_uri)
        if proxy_path is not None:
            rows = self.transport.fetch_json(PROXY, {"path": f"{proxy_path}/{folder}".strip("/")}).get("files") or []
            entries = [(f"{folder}/{get_text(row, 'path')}".lstrip("/"), row) for row in rows]
        elif isinstance(owner, SourceRun):
            rows = list(self.iter_pages(f"{API}/artifacts/list", "files", {"run_id": owner.id, "path": folder}))
            entries = [(get_text(row, "path"), row) for row in rows]
        else:
            path = f"{API}/logged-models/{owner.id}/artifacts/directories"
            rows = list(self.iter_pages(path, "files", {"artifact_directory_path": folder}))
            entries = [(get_text(row, "path"), row) for row in rows]
        start = f"{folder}/" if folder else ""
        for path, _ in entries:  # or a listing that names its own folder would have no end
            if not path.startswith(start) or len(path) <= len(start):
                raise Unreadable(f"{path[:80]!r} does not lie in {folder!r}")
        return [(path, bool(row.get("is_dir")), int(row.get("file_size") or 0)) for path, row in entries]

    def read(self, owner: Owner, file: SourceFile) -> Iterator[bytes]:
        proxy_path = get_proxy_path(owner.artifact_uri)
        if proxy_path is not None:
            return self.transport.iter_bytes(f"{PROXY}/{quote(f'{proxy_path}/{file.path}'.strip('/'))}")
        if isinstance(owner, SourceRun):
            return self.transport.iter_bytes("/get-artifact", {"path": file.path, "run_uuid": owner.id})
        path = f"/ajax-api/2.0/mlflow/logged-models/{owner.id}/artifacts/files"
        return self.transport.iter_bytes(path, {"artifact_file_path": file.path})


def get_proxy_path(uri: str) -> str | None:
    """The path behind the server's proxy that an artifact_uri means; None for another store."""
    parts = urlsplit(uri)
    return unquote(parts.path).strip("/") if parts.scheme == "mlflow-artifacts" else None


# -- rows -----------------------------------------------------------------------------------------------------------
def parse_experiment(row: Mapping[str, Any]) -> SourceExperiment:
    return SourceExperiment(
        id=str(row["experiment_id"]),
        name=str(row["name"]),
        created=get_int(row, "creation_time"),
        updated=get_int(row, "last_update_time"),
        deleted=row.get("lifecycle_stage") == "deleted",
        tags=parse_pairs(row.get("tags")),
    )


def parse_run(row: Mapping[str, Any]) -> SourceRun:
    info, data = row["info"], row.get("data") or {}
    state = str(info.get("status", "RUNNING")).lower()
    if state not in RUN_STATES.values():
        raise Unreadable(f"{state[:40]!r} is no status")
    metrics = sorted(data.get("metrics") or [], key=lambda each: str(each["key"]))
    newest = [[str(each.get(name)) for name in ("key", "value", "step", "timestamp")] for each in metrics]
    ended = get_int(info, "end_time")
    inputs, outputs = row.get("inputs") or {}, row.get("outputs") or {}
    links = [Link(model_id=str(each["model_id"]), direction="input") for each in inputs.get("model_inputs") or []]
    links += [
        Link(model_id=str(each["model_id"]), direction="output", step=int(each.get("step") or 0))
        for each in outputs.get("model_outputs") or []
    ]
    run_id = str(info.get("run_id") or info["run_uuid"])
    return SourceRun(
        id=run_id,
        experiment_id=str(info["experiment_id"]),
        name=get_text(info, "run_name") or run_id,
        user=get_text(info, "user_id"),
        state=state,
        started=get_int(info, "start_time"),
        ended=ended,
        deleted=info.get("lifecycle_stage") == "deleted",
        params=parse_pairs(data.get("params")),
        tags=parse_pairs(data.get("tags")),
        metric_keys=[str(each["key"]) for each in metrics],
        datasets=[parse_dataset(each) for each in inputs.get("dataset_inputs") or []],
        links=links,
        artifact_uri=get_text(info, "artifact_uri"),
        mark=sha256_hex(f"{state} {ended} {newest}") if state not in ("running", "scheduled") else "",
    )


def parse_dataset(row: Mapping[str, Any]) -> SourceDataset:
    dataset = row["dataset"]
    return SourceDataset(
        name=str(dataset["name"]),
        digest=str(dataset["digest"]),
        tags=parse_pairs(row.get("tags")),
        **{name: get_text(dataset, name) for name in ("source_type", "source", "schema", "profile")},
    )


def parse_logged_model(row: Mapping[str, Any]) -> SourceLoggedModel:
    info, data = row["info"], row.get("data") or {}
    metrics = [
        SourceModelMetric(
            key=str(each["key"]),
            value=float(each["value"]),
            step=int(each.get("step") or 0),
            at=int(each["timestamp"]),
            run_id=get_text(each, "run_id"),
            dataset_name=get_text(each, "dataset_name"),
            dataset_digest=get_text(each, "dataset_digest"),
        )
        for each in data.get("metrics") or []
    ]
    return SourceLoggedModel(
        id=str(info["model_id"]),
        experiment_id=str(info["experiment_id"]),
        name=str(info["name"]),
        model_type=get_text(info, "model_type"),
        state=str(info.get("status") or "UNSPECIFIED").removeprefix(MODEL_PREFIX).lower(),
        run_id=get_text(info, "source_run_id"),
        created=get_int(info, "creation_timestamp_ms"),
        updated=get_int(info, "last_updated_timestamp_ms"),
        params=parse_pairs(data.get("params")),
        tags=parse_pairs(info.get("tags")),
        metrics=metrics,
        artifact_uri=get_text(info, "artifact_uri"),
    )


def parse_version(row: Mapping[str, Any], name: str) -> SourceVersion:
    return SourceVersion(
        name=name,
        number=int(row["version"]),
        created=get_int(row, "creation_timestamp"),
        updated=get_int(row, "last_updated_timestamp"),
        stage=get_text(row, "current_stage") or "None",
        tags=parse_pairs(row.get("tags")),
        **{key: get_text(row, key) for key in ("source", "run_id", "model_id", "run_link", "description")},
    )


def get_row_id(row: Any, name: str) -> str:
    """How a row is called, however broken it is."""
    info = row.get("info") if isinstance(row, dict) else None
    return str(info.get(name)) if isinstance(info, dict) else repr(row)[:80]


def parse_pairs(rows: Any) -> dict[str, str]:
    return {str(each["key"]): get_text(each, "value") for each in rows or []}


def get_text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


def get_int(row: Mapping[str, Any], name: str) -> int | None:
    value = row.get(name)
    return None if value in (None, "") else int(value)
