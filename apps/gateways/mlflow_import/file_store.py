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
from apps.gateways.mlflow_import.read_guard import guarded
from apps.gateways.mlflow_import.source_records import (
    MODEL_STATES,
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
        self.root = real_folder(root, "SOURCE")
        self.artifacts = real_folder(artifacts, "--artifacts") if artifacts else None
        self.name = str(self.root)
        if next(self.experiment_folders(), None) is None:
            raise Invalid(
                f"{root} holds no experiment.",
                field="SOURCE",
                limit="a folder of folders with a meta.yaml, as MLflow's file store writes them",
                hint="Give the folder mlruns itself, or the address of a server: http://...",
            )

    # -- experiments and runs ---------------------------------------------------------------------------------------
    def experiment_folders(self) -> Iterator[Path]:
        for parent in (self.root, self.root / TRASH):
            for folder in folders(parent):
                if folder.name not in (MODELS, TRASH) and is_file(folder / META):
                    yield folder

    def experiments(self) -> Iterator[FoundExperiment | Unreadable]:
        for folder in self.experiment_folders():
            yield guarded(f"experiment {folder.name}", experiment_in, folder)

    def folder_of(self, experiment_id: str) -> Path:
        here = self.root / experiment_id
        return here if is_file(here / META) else self.root / TRASH / experiment_id

    def runs(self, experiment: FoundExperiment) -> Iterator[FoundRun | Unreadable]:
        for folder in folders(self.folder_of(experiment.id)):
            if folder.name not in (MODELS, DATASETS, TRACES, "tags"):
                yield guarded(f"run {folder.name}", self.run_in, folder, experiment)

    def run_in(self, folder: Path, experiment: FoundExperiment) -> FoundRun:
        told = meta(folder)
        tags = values(folder / "tags")
        keys, seen = [], []
        for name, entry in files_below(folder / "metrics"):
            about = entry.stat(follow_symlinks=False)
            keys.append(name)
            seen.append((name, about.st_size, about.st_mtime_ns))
        return FoundRun(
            id=folder.name,
            experiment_id=experiment.id,
            name=str(told.get("run_name") or tags.get(NAME_TAG) or folder.name),
            user=str(told.get("user_id") or ""),
            state=state_of(told.get("status"), RUN_STATES),
            started=whole(told.get("start_time")),
            ended=whole(told.get("end_time")),
            deleted=told.get("lifecycle_stage") == "deleted" or experiment.deleted,
            params=values(folder / "params"),
            tags=tags,
            metric_keys=keys,
            mark=sha256_hex(repr(seen)),
            datasets=self.datasets_of(folder),
            links=links_of(folder),
            artifact_uri=str(told.get("artifact_uri") or ""),
        )

    def datasets_of(self, folder: Path) -> list[FoundDataset]:
        found = []
        for each in folders(folder / "inputs"):
            link = meta(each)
            if link.get("source_type") != "DATASET":
                continue
            told = meta(folder.parent / DATASETS / one_name(str(link.get("source_id"))))
            found.append(
                FoundDataset(
                    name=str(told["name"]),
                    digest=str(told["digest"]),
                    tags=texts(link.get("tags")),
                    **{key: str(told.get(key) or "") for key in ("source_type", "source", "schema", "profile")},
                )
            )
        return found

    def history(self, run: FoundRun, key: str) -> Iterator[FoundPoint]:
        path = self.folder_of(run.experiment_id) / run.id / "metrics" / key
        for number, line in enumerate(lines(path), 1):
            parts = line.split(" ")
            try:
                yield FoundPoint(float(parts[1]), int(parts[2]) if len(parts) > 2 else 0, int(parts[0]))
            except (IndexError, ValueError):
                raise Unreadable(f"line {number} of metric {key!r} is no point: {line[:80]!r}") from None

    # -- logged models ----------------------------------------------------------------------------------------------
    def logged_models(self, experiment: FoundExperiment) -> Iterator[FoundLoggedModel | Unreadable]:
        for folder in folders(self.folder_of(experiment.id) / MODELS):
            yield guarded(f"logged model {folder.name}", logged_model_in, folder, experiment)

    # -- the registry -----------------------------------------------------------------------------------------------
    def registered_models(self) -> Iterator[FoundRegisteredModel | Unreadable]:
        for folder in folders(self.root / MODELS):
            yield guarded(f"registered model {folder.name}", registered_model_in, folder)

    def versions(self, model: FoundRegisteredModel) -> Iterator[FoundVersion | Unreadable]:
        numbered = (
            folder
            for folder in folders(self.root / MODELS / one_name(model.name))
            if folder.name.startswith("version-")
        )
        for folder in sorted(numbered, key=lambda at: (len(at.name), at.name)):
            found = guarded(f"{model.name} {folder.name}", version_in, folder, model.name)
            if isinstance(found, Unreadable) or found.stage != DELETED_VERSION:
                yield found

    # -- artifacts --------------------------------------------------------------------------------------------------
    def files(self, owner: FoundRun | FoundLoggedModel) -> Iterator[FoundFile | Unreadable]:
        try:
            base = self.artifacts_of(owner)
        except Unreadable as error:
            yield error
            return
        for path, entry in files_below(base, links=True):
            if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
                yield Unreadable(f"{path} is no regular file")
            else:
                yield FoundFile(path, entry.stat(follow_symlinks=False).st_size)

    def read(self, owner: FoundRun | FoundLoggedModel, file: FoundFile) -> Iterator[bytes]:
        with closing(opened(self.artifacts_of(owner) / file.path)) as reading:
            while chunk := reading.read(CHUNK):
                yield chunk

    def artifacts_of(self, owner: FoundRun | FoundLoggedModel) -> Path:
        """The folder of its artifacts, below the store; Unreadable where they are somewhere else."""
        kind = [MODELS] if isinstance(owner, FoundLoggedModel) else []
        usual = self.folder_of(owner.experiment_id).joinpath(*kind, owner.id, "artifacts")
        parts = urlsplit(owner.artifact_uri)
        if parts.scheme in ("", "file") and parts.netloc in ("", "localhost"):
            told = Path(unquote(parts.path) if parts.scheme else owner.artifact_uri)
            for place in (told, usual):  # a store that was moved names where it was
                if place.is_dir() and place.resolve().is_relative_to(self.root):
                    return place.resolve()
            if not told.is_dir():
                return usual  # none was ever logged
        elif parts.scheme == "mlflow-artifacts" and self.artifacts is not None:
            place = self.artifacts / unquote(parts.path).lstrip("/")
            if place.resolve().is_relative_to(self.artifacts):
                return place.resolve()
        raise Unreadable(
            f"its artifacts are at {owner.artifact_uri}, which is not below {self.root}"
            + ("; --artifacts names the folder of a server's artifacts" if parts.scheme == "mlflow-artifacts" else "")
        )


# -- one folder -----------------------------------------------------------------------------------------------------
def experiment_in(folder: Path) -> FoundExperiment:
    told = meta(folder)
    return FoundExperiment(
        id=folder.name,
        name=str(told["name"]),
        created=whole(told.get("creation_time")),
        updated=whole(told.get("last_update_time")),
        deleted=told.get("lifecycle_stage") == "deleted",
        tags=values(folder / "tags"),
    )


def logged_model_in(folder: Path, experiment: FoundExperiment) -> FoundLoggedModel:
    told = meta(folder)
    return FoundLoggedModel(
        id=folder.name,
        experiment_id=experiment.id,
        name=str(told["name"]),
        model_type=str(told.get("model_type") or ""),
        state=state_of(told.get("status"), MODEL_STATES),
        run_id=str(told.get("source_run_id") or ""),
        created=whole(told.get("creation_timestamp")),
        updated=whole(told.get("last_updated_timestamp")),
        deleted=told.get("lifecycle_stage") == "deleted",
        params=values(folder / "params"),
        tags=values(folder / "tags"),
        metrics=model_metrics(folder / "metrics"),
        artifact_uri=str(told.get("artifact_location") or ""),
    )


def model_metrics(folder: Path) -> list[FoundModelMetric]:
    """The newest point of each key, dataset and run: what MLflow shows of a model."""
    newest: dict[tuple[str, str, str, str], FoundModelMetric] = {}
    for key, _ in files_below(folder):
        for line in lines(folder / key):
            parts = line.split(" ")
            try:
                at, value, step, run_id = int(parts[0]), float(parts[1]), int(parts[2]), parts[3]
            except (IndexError, ValueError):
                raise Unreadable(f"metric {key!r} holds a line that is no point: {line[:80]!r}") from None
            data, digest = (" ".join(parts[4:-1]), parts[-1]) if len(parts) > 5 else ("", "")
            found = FoundModelMetric(
                key=key, value=value, step=step, at=at, run_id=run_id, dataset_name=data, dataset_digest=digest
            )
            held = newest.get((key, data, digest, run_id))
            if held is None or (held.step, held.at) <= (step, at):
                newest[key, data, digest, run_id] = found
    return list(newest.values())


def registered_model_in(folder: Path) -> FoundRegisteredModel:
    told = meta(folder)
    aliases = {name: int(version) for name, version in values(folder / "aliases").items()}
    return FoundRegisteredModel(
        name=str(told["name"]),
        description=str(told.get("description") or ""),
        created=whole(told.get("creation_timestamp")),
        updated=whole(told.get("last_updated_timestamp")),
        tags=values(folder / "tags"),
        aliases=aliases,
    )


def version_in(folder: Path, name: str) -> FoundVersion:
    told = meta(folder)
    return FoundVersion(
        name=name,
        number=int(told["version"]),
        created=whole(told.get("creation_timestamp")),
        updated=whole(told.get("last_updated_timestamp")),
        stage=str(told.get("current_stage") or "None"),
        tags=values(folder / "tags"),
        **{key: str(told.get(key) or "") for key in ("source", "run_id", "model_id", "run_link", "description")},
    )


def links_of(folder: Path) -> list[Link]:
    found = []
    for each in folders(folder / "inputs"):
        told = meta(each)
        if told.get("source_type") == "MODEL":
            found.append(Link(model_id=str(told.get("source_id")), direction="input"))
    for each in folders(folder / "outputs"):
        told = meta(each)
        step = whole(told.get("step")) or 0
        found.append(Link(model_id=str(told.get("destination_id")), direction="output", step=step))
    return found


# -- files ----------------------------------------------------------------------------------------------------------
def real_folder(path: Path, field: str) -> Path:
    real = path.expanduser().resolve()
    if not real.is_dir():
        raise Invalid(
            f"{path} is no folder.",
            field=field,
            limit="a folder mlruns, or http://... or https://... of a server",
            hint="Check the path.",
        )
    return real


def folders(parent: Path) -> Iterator[Path]:
    """The folders in `parent` in the order of their names; links are none."""
    try:
        with os.scandir(parent) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (parent / name for name in names)


def files_below(base: Path, inside: str = "", *, links: bool = False) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(path relative to `base`, entry) of every regular file, by name; with `links` what is none is given too."""
    try:
        with os.scandir(base / inside) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        path = f"{inside}/{entry.name}" if inside else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(base, path, links=links)
        elif links or entry.is_file(follow_symlinks=False):
            yield path, entry


def is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def opened(path: Path) -> Any:
    """The regular file itself, never what a link names."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Unreadable(f"{path} is no regular file")
    return file


def text(path: Path, limit: int) -> str:
    with closing(opened(path)) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Unreadable(f"{path} is larger than {limit} bytes")
    try:
        return str(data.decode())
    except UnicodeDecodeError:
        raise Unreadable(f"{path} is not UTF-8") from None


def lines(path: Path) -> Iterator[str]:
    with closing(opened(path)) as file:
        for line in file:
            if stripped := line.decode(errors="replace").strip():
                yield stripped


def meta(folder: Path) -> Mapping[str, Any]:
    """What the meta.yaml of a folder says; Unreadable where it is none."""
    path = folder / META
    try:
        told = yaml.load(text(path, META_LIMIT), LOADER)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, RecursionError) as error:
        raise Unreadable(f"{path} is no YAML: {str(error).splitlines()[0]}") from None
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:  # `!!int ''` and the like
        raise Unreadable(f"{path} holds a value that is not what it says: {error}") from None
    if not isinstance(told, dict):
        raise Unreadable(f"{path} is no table of names and values")
    return told


def values(folder: Path) -> dict[str, str]:
    """{name: text} of a folder with a file for each name, which may hold `/`."""
    return {name: text(folder / name, VALUE_LIMIT) for name, _ in files_below(folder)}


def one_name(name: str) -> str:
    """A name in a folder; Unreadable for what would lead out of it."""
    if not name or name in (".", "..") or "/" in name or "\x00" in name:
        raise Unreadable(f"{name!r} cannot be the name of a folder")
    return name


def texts(told: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in (told or {}).items()}


def whole(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (ValueError, TypeError, OverflowError):
        raise Unreadable(f"{META} holds {value!r} where a whole number belongs") from None


def state_of(value: Any, known: Mapping[int, str]) -> str:
    found = known.get(int(value if value is not None else -1))
    if found is None:
        raise Unreadable(f"{value!r} is no status")
    return found
