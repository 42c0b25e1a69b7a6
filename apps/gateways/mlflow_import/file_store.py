"""MLflow's file store: a folder `mlruns` of meta.yaml files, a file per param, tag and metric, and artifacts.

Read by YAML's safe loader alone, never by following a link and never outside of the folder: what a meta.yaml names as a
place is taken only if it lies below. A store that was moved is read where its files lie now.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from apps.core.canonical import sha256_hex
from apps.core.errors import Invalid
from apps.gateways.mlflow_import.read_guard import try_read
from apps.gateways.mlflow_import.source_records import (
    MODEL_STATES,
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
from apps.ml.experiments.keys import NAME_TAG

META = "meta.yaml"
META_LIMIT = 10 * 2**20  # bytes: it may hold a note and a schema, never a table
VALUE_LIMIT = 10 * 2**20  # bytes of a param or a tag
TRASH, MODELS, DATASETS, TRACES = ".trash", "models", "datasets", "traces"
DELETED_VERSION = "Deleted_Internal"
CHUNK = 1 << 20
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class FileStore:
    """`root` is the folder that holds the experiments; `artifacts` the one that a server kept its artifacts in, if
    there was one (`mlflow server --artifacts-destination`)."""

    def __init__(self, root: Path, artifacts: Path | None = None) -> None:
        self.root = resolve_folder(root, "SOURCE")
        self.artifacts = resolve_folder(artifacts, "--artifacts") if artifacts else None
        self.name = str(self.root)
        if next(self.iter_experiment_folders(), None) is None:
            raise Invalid(
                f"{root} holds no experiment.",
                field="SOURCE",
                limit="a folder of folders with a meta.yaml, as MLflow's file store writes them",
                hint="Give the folder mlruns itself, or the address of a server: http://...",
            )

    # -- experiments and runs ---------------------------------------------------------------------------------------
    def iter_experiment_folders(self) -> Iterator[Path]:
        for parent in (self.root, self.root / TRASH):
            for folder in iter_folders(parent):
                if folder.name not in (MODELS, TRASH) and is_file(folder / META):
                    yield folder

    def iter_experiments(self) -> Iterator[SourceExperiment | Unreadable]:
        for folder in self.iter_experiment_folders():
            yield try_read(f"experiment {folder.name}", read_experiment, folder)

    def get_experiment_folder(self, experiment_id: str) -> Path:
        active = self.root / experiment_id
        return active if is_file(active / META) else self.root / TRASH / experiment_id

    def iter_runs(self, experiment: SourceExperiment) -> Iterator[SourceRun | Unreadable]:
        for folder in iter_folders(self.get_experiment_folder(experiment.id)):
            if folder.name not in (MODELS, DATASETS, TRACES, "tags"):
                yield try_read(f"run {folder.name}", self.read_run, folder, experiment)

    def read_run(self, folder: Path, experiment: SourceExperiment) -> SourceRun:
        meta_values = read_meta(folder)
        tags = read_values(folder / "tags")
        keys, metric_files = [], []
        for name, entry in iter_files_below(folder / "metrics"):
            status = entry.stat(follow_symlinks=False)
            keys.append(name)
            metric_files.append((name, status.st_size, status.st_mtime_ns))
        return SourceRun(
            id=folder.name,
            experiment_id=experiment.id,
            name=str(meta_values.get("run_name") or tags.get(NAME_TAG) or folder.name),
            user=str(meta_values.get("user_id") or ""),
            state=parse_state(meta_values.get("status"), RUN_STATES),
            started=parse_int(meta_values.get("start_time")),
            ended=parse_int(meta_values.get("end_time")),
            deleted=meta_values.get("lifecycle_stage") == "deleted" or experiment.deleted,
            params=read_values(folder / "params"),
            tags=tags,
            metric_keys=keys,
            mark=sha256_hex(repr(metric_files)),
            datasets=self.read_datasets(folder),
            links=read_links(folder),
            artifact_uri=str(meta_values.get("artifact_uri") or ""),
        )

    def read_datasets(self, folder: Path) -> list[SourceDataset]:
        datasets = []
        for each in iter_folders(folder / "inputs"):
            link = read_meta(each)
            if link.get("source_type") != "DATASET":
                continue
            meta_values = read_meta(folder.parent / DATASETS / check_folder_name(str(link.get("source_id"))))
            datasets.append(
                SourceDataset(
                    name=str(meta_values["name"]),
                    digest=str(meta_values["digest"]),
                    tags=to_texts(link.get("tags")),
                    **{key: str(meta_values.get(key) or "") for key in ("source_type", "source", "schema", "profile")},
                )
            )
        return datasets

    def iter_points(self, run: SourceRun, key: str) -> Iterator[SourcePoint]:
        path = self.get_experiment_folder(run.experiment_id) / run.id / "metrics" / key
        for number, line in enumerate(iter_lines(path), 1):
            parts = line.split(" ")
            try:
                yield SourcePoint(float(parts[1]), int(parts[2]) if len(parts) > 2 else 0, int(parts[0]))
            except (IndexError, ValueError):
                raise Unreadable(f"line {number} of metric {key!r} is no point: {line[:80]!r}") from None

    # -- logged models ----------------------------------------------------------------------------------------------
    def iter_logged_models(self, experiment: SourceExperiment) -> Iterator[SourceLoggedModel | Unreadable]:
        for folder in iter_folders(self.get_experiment_folder(experiment.id) / MODELS):
            yield try_read(f"logged model {folder.name}", read_logged_model, folder, experiment)

    # -- the registry -----------------------------------------------------------------------------------------------
    def iter_registered_models(self) -> Iterator[SourceRegisteredModel | Unreadable]:
        for folder in iter_folders(self.root / MODELS):
            yield try_read(f"registered model {folder.name}", read_registered_model, folder)

    def iter_versions(self, model: SourceRegisteredModel) -> Iterator[SourceVersion | Unreadable]:
        numbered = (
            folder
            for folder in iter_folders(self.root / MODELS / check_folder_name(model.name))
            if folder.name.startswith("version-")
        )
        for folder in sorted(numbered, key=lambda at: (len(at.name), at.name)):
            version = try_read(f"{model.name} {folder.name}", read_version, folder, model.name)
            if isinstance(version, Unreadable) or version.stage != DELETED_VERSION:
                yield version

    # -- artifacts --------------------------------------------------------------------------------------------------
    def iter_files(self, owner: SourceRun | SourceLoggedModel) -> Iterator[SourceFile | Unreadable]:
        try:
            base = self.get_artifact_folder(owner)
        except Unreadable as error:
            yield error
            return
        for path, entry in iter_files_below(base, links=True):
            if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
                yield Unreadable(f"{path} is no regular file")
            else:
                yield SourceFile(path, entry.stat(follow_symlinks=False).st_size)

    def read(self, owner: SourceRun | SourceLoggedModel, file: SourceFile) -> Iterator[bytes]:
        with closing(open_file(self.get_artifact_folder(owner) / file.path)) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    def get_artifact_folder(self, owner: SourceRun | SourceLoggedModel) -> Path:
        """The folder of its artifacts, below the store; Unreadable where they are somewhere else."""
        kind = [MODELS] if isinstance(owner, SourceLoggedModel) else []
        default_path = self.get_experiment_folder(owner.experiment_id).joinpath(*kind, owner.id, "artifacts")
        parts = urlsplit(owner.artifact_uri)
        if parts.scheme in ("", "file") and parts.netloc in ("", "localhost"):
            logged_path = Path(unquote(parts.path) if parts.scheme else owner.artifact_uri)
            for folder in (logged_path, default_path):  # a store that was moved names where it was
                if folder.is_dir() and folder.resolve().is_relative_to(self.root):
                    return folder.resolve()
            if not logged_path.is_dir():
                return default_path  # none was ever logged
        elif parts.scheme == "mlflow-artifacts" and self.artifacts is not None:
            folder = self.artifacts / unquote(parts.path).lstrip("/")
            if folder.resolve().is_relative_to(self.artifacts):
                return folder.resolve()
        raise Unreadable(
            f"its artifacts are at {owner.artifact_uri}, which is not below {self.root}"
            + ("; --artifacts names the folder of a server's artifacts" if parts.scheme == "mlflow-artifacts" else "")
        )


# -- one folder -----------------------------------------------------------------------------------------------------
def read_experiment(folder: Path) -> SourceExperiment:
    meta_values = read_meta(folder)
    return SourceExperiment(
        id=folder.name,
        name=str(meta_values["name"]),
        created=parse_int(meta_values.get("creation_time")),
        updated=parse_int(meta_values.get("last_update_time")),
        deleted=meta_values.get("lifecycle_stage") == "deleted",
        tags=read_values(folder / "tags"),
    )


def read_logged_model(folder: Path, experiment: SourceExperiment) -> SourceLoggedModel:
    meta_values = read_meta(folder)
    return SourceLoggedModel(
        id=folder.name,
        experiment_id=experiment.id,
        name=str(meta_values["name"]),
        model_type=str(meta_values.get("model_type") or ""),
        state=parse_state(meta_values.get("status"), MODEL_STATES),
        run_id=str(meta_values.get("source_run_id") or ""),
        created=parse_int(meta_values.get("creation_timestamp")),
        updated=parse_int(meta_values.get("last_updated_timestamp")),
        deleted=meta_values.get("lifecycle_stage") == "deleted",
        params=read_values(folder / "params"),
        tags=read_values(folder / "tags"),
        metrics=read_model_metrics(folder / "metrics"),
        artifact_uri=str(meta_values.get("artifact_location") or ""),
    )


def read_model_metrics(folder: Path) -> list[SourceModelMetric]:
    """The newest point of each key, dataset and run: what MLflow shows of a model."""
    newest: dict[tuple[str, str, str, str], SourceModelMetric] = {}
    for key, _ in iter_files_below(folder):
        for line in iter_lines(folder / key):
            parts = line.split(" ")
            try:
                at, value, step, run_id = int(parts[0]), float(parts[1]), int(parts[2]), parts[3]
            except (IndexError, ValueError):
                raise Unreadable(f"metric {key!r} holds a line that is no point: {line[:80]!r}") from None
            data, digest = (" ".join(parts[4:-1]), parts[-1]) if len(parts) > 5 else ("", "")
            metric = SourceModelMetric(
                key=key, value=value, step=step, at=at, run_id=run_id, dataset_name=data, dataset_digest=digest
            )
            newest_metric = newest.get((key, data, digest, run_id))
            if newest_metric is None or (newest_metric.step, newest_metric.at) <= (step, at):
                newest[key, data, digest, run_id] = metric
    return list(newest.values())


def read_registered_model(folder: Path) -> SourceRegisteredModel:
    meta_values = read_meta(folder)
    aliases = {name: int(version) for name, version in read_values(folder / "aliases").items()}
    return SourceRegisteredModel(
        name=str(meta_values["name"]),
        description=str(meta_values.get("description") or ""),
        created=parse_int(meta_values.get("creation_timestamp")),
        updated=parse_int(meta_values.get("last_updated_timestamp")),
        tags=read_values(folder / "tags"),
        aliases=aliases,
    )


def read_version(folder: Path, name: str) -> SourceVersion:
    meta_values = read_meta(folder)
    return SourceVersion(
        name=name,
        number=int(meta_values["version"]),
        created=parse_int(meta_values.get("creation_timestamp")),
        updated=parse_int(meta_values.get("last_updated_timestamp")),
        stage=str(meta_values.get("current_stage") or "None"),
        tags=read_values(folder / "tags"),
        **{key: str(meta_values.get(key) or "") for key in ("source", "run_id", "model_id", "run_link", "description")},
    )


def read_links(folder: Path) -> list[Link]:
    links = []
    for each in iter_folders(folder / "inputs"):
        meta_values = read_meta(each)
        if meta_values.get("source_type") == "MODEL":
            links.append(Link(model_id=str(meta_values.get("source_id")), direction="input"))
    for each in iter_folders(folder / "outputs"):
        meta_values = read_meta(each)
        step = parse_int(meta_values.get("step")) or 0
        links.append(Link(model_id=str(meta_values.get("destination_id")), direction="output", step=step))
    return links


# -- files ----------------------------------------------------------------------------------------------------------
def resolve_folder(path: Path, field: str) -> Path:
    real = path.expanduser().resolve()
    if not real.is_dir():
        raise Invalid(
            f"{path} is no folder.",
            field=field,
            limit="a folder mlruns, or http://... or https://... of a server",
            hint="Check the path.",
        )
    return real


def iter_folders(parent: Path) -> Iterator[Path]:
    """The folders in `parent` in the order of their names; links are none."""
    try:
        with os.scandir(parent) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (parent / name for name in names)


def iter_files_below(base: Path, folder: str = "", *, links: bool = False) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(path relative to `base`, entry) of every regular file, by name; with `links` what is none is given too."""
    try:
        with os.scandir(base / folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from iter_files_below(base, path, links=links)
        elif links or entry.is_file(follow_symlinks=False):
            yield path, entry


def is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def open_file(path: Path) -> Any:
    """The regular file itself, never what a link names."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Unreadable(f"{path} is no regular file")
    return file


def read_text(path: Path, limit: int) -> str:
    with closing(open_file(path)) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Unreadable(f"{path} is larger than {limit} bytes")
    try:
        return str(data.decode())
    except UnicodeDecodeError:
        raise Unreadable(f"{path} is not UTF-8") from None


def iter_lines(path: Path) -> Iterator[str]:
    with closing(open_file(path)) as file:
        for line in file:
            if stripped := line.decode(errors="replace").strip():
                yield stripped


def read_meta(folder: Path) -> Mapping[str, Any]:
    """What the meta.yaml of a folder says; Unreadable where it is none."""
    path = folder / META
    try:
        document = yaml.load(read_text(path, META_LIMIT), LOADER)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, RecursionError) as error:
        raise Unreadable(f"{path} is no YAML: {str(error).splitlines()[0]}") from None
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:  # `!!int ''` and the like
        raise Unreadable(f"{path} holds a value that is not what it says: {error}") from None
    if not isinstance(document, dict):
        raise Unreadable(f"{path} is no table of names and values")
    return document


def read_values(folder: Path) -> dict[str, str]:
    """{name: text} of a folder with a file for each name, which may hold `/`."""
    return {name: read_text(folder / name, VALUE_LIMIT) for name, _ in iter_files_below(folder)}


def check_folder_name(name: str) -> str:
    """A name in a folder; Unreadable for what would lead out of it."""
    if not name or name in (".", "..") or "/" in name or "\x00" in name:
        raise Unreadable(f"{name!r} cannot be the name of a folder")
    return name


def to_texts(mapping: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in (mapping or {}).items()}


def parse_int(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (ValueError, TypeError, OverflowError):
        raise Unreadable(f"{META} holds {value!r} where a whole number belongs") from None


def parse_state(value: Any, states: Mapping[int, str]) -> str:
    state = states.get(int(value if value is not None else -1))
    if state is None:
        raise Unreadable(f"{value!r} is no status")
    return state
