"""Where a client says the files of a version are, and what is there now. Reads only.

A source is a logged model (`models:/m-...`), another version (`models:/name/3`, `models:/name@alias`), a folder of a
run or of a logged model (`mlflow-artifacts:/...`, `runs:/...`), or something outside the plane (`s3://...`), of which
only the words are kept. A folder must be of the run or the model that the request names, or a version could say that
it comes from where it does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from apps.core.actors import Actor
from apps.core.db import fast_sql
from apps.core.errors import Invalid, NotFound
from apps.ml.experiments.files.tree import ArtifactPlace, list_files_below, parse_place
from apps.ml.experiments.models import LoggedModel, LoggedModelArtifact, Run
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import Project
from deepseek.messages import N_

EXTERNAL_SCHEMES = frozenset({"s3", "gs", "wasbs", "abfss", "r2", "b2", "oci"})  # stores that a client reads by itself
MODEL_URI = re.compile(r"models:/(?:(?P<id>m-[0-9a-f]{32})|(?P<name>[^/@]+)(?:/(?P<number>\d{1,9})|@(?P<alias>[^/]+)))")
MAX_FILES = 10_000
FrozenFile = tuple[str, str, int, str]
"""(path, digest, size, media type)"""


@dataclass(frozen=True, slots=True)
class VersionSource:
    run_id: str | None = None
    logged_model_id: str | None = None
    files: list[FrozenFile] = field(default_factory=list)


def resolve_source(actor: Actor, project: Project, text: str, *, run_id: str, model_id: str) -> VersionSource:
    """What lies at a source now, and whose it is. Raises Invalid for a source that cannot be one, NotFound."""
    scheme = urlsplit(text).scheme.lower() if ":" in text else ""
    if has_parent_steps(text):
        raise build_bad_source_error(
            text,
            "If supplying a source as an http, https, local file path, ftp, objectstore, or mlflow-artifacts uri, an "
            "absolute path must be provided without relative path references present. Please provide an absolute path.",
        )
    if scheme == "models":
        return resolve_model_source(actor, project, text, run_id, model_id)
    if scheme in {"mlflow-artifacts", "runs"}:
        return resolve_folder_source(project, text, run_id, model_id)
    if scheme in EXTERNAL_SCHEMES:
        return VersionSource(find_run_id(project, run_id), get_logged_model(project, model_id).pk if model_id else None)
    if scheme in {"", "file"}:
        raise build_bad_source_error(
            text,
            "To use a local path as a model version source, the run_id request parameter has to be specified and the "
            "local path has to be contained within the artifact directory of the run specified by the run_id.",
        )
    raise Invalid(
        "'source' cannot use the {scheme!r} scheme: the plane connects to no host that a request names.",
        scheme=scheme[:40],
        code="bad_source",
        field="source",
        limit="mlflow-artifacts, runs, models, " + ", ".join(sorted(EXTERNAL_SCHEMES)),
        hint=N_("Log the model to a run of this plane, and register that."),
    )


def resolve_model_source(actor: Actor, project: Project, text: str, run_id: str, model_id: str) -> VersionSource:
    match = MODEL_URI.fullmatch(text)
    if match is None:
        raise build_bad_source_error(
            text, "A models:/ source names a logged model, or a registered model with a version or an alias."
        )
    if match["id"]:
        if model_id != match["id"]:
            raise build_foreign_source_error(text, "model_id")
        files, made_by = load_logged_model(project, model_id)
        return VersionSource(require_own_run(text, run_id, made_by), model_id, files)
    versions = ModelVersion.objects.visible_to(actor).filter(model__project=project)
    which = {"number": int(match["number"])} if match["number"] else {"aliases__name": match["alias"]}
    version = versions.select_related("model").filter(model__name=unquote(match["name"]), **which).first()
    if version is None:
        raise NotFound(
            "Model Version (name={name}, version={number}) not found",
            name=match["name"],
            number=match["number"] or match["alias"],
            field="source",
        )
    return VersionSource(
        require_own_run(text, run_id, version.run_id), version.logged_model_id, list_frozen_files(version)
    )


def resolve_folder_source(project: Project, text: str, run_id: str, model_id: str) -> VersionSource:
    split = urlsplit(text)
    if split.netloc:
        raise Invalid(
            "'source' names a host; the plane's own folders have none.",
            code="bad_source",
            field="source",
            limit="mlflow-artifacts:/<experiment>/<run>/artifacts/<folder>",
            hint=N_("Leave out the host."),
        )
    path = unquote(split.path).strip("/")
    if split.scheme == "runs":
        run, _, folder = path.partition("/")
        place: ArtifactPlace | None = ArtifactPlace(run=run, path=folder)
    else:
        place = parse_place(path)
    is_named = place is not None and ((place.run and place.run == run_id) or (place.model and place.model == model_id))
    if place is None or not (is_named or place.version is not None):
        raise build_foreign_source_error(
            text, "model_id" if (place and place.model) or (model_id and not run_id) else "run_id"
        )
    if place.version is not None:
        version = ModelVersion.objects.filter(pk=place.version, model__project=project, deleted_at=None).first()
        if version is None or place.path:
            raise NotFound("There is no such version.", field="source")
        return VersionSource(version.run_id, version.logged_model_id, list_frozen_files(version))
    if place.model:
        model = get_logged_model(project, place.model)
        return VersionSource(
            require_own_run(text, run_id, model.source_run_id), model.pk, freeze_files(model, place.path)
        )
    run_row = fast_sql.select_first(Run, ("id",), id=place.run, project_id=project.pk)
    if run_row is None:
        raise build_foreign_source_error(text, "run_id")
    return VersionSource(
        run_row.pk, get_logged_model(project, model_id).pk if model_id else None, freeze_files(run_row, place.path)
    )


def load_logged_model(project: Project, model_id: str) -> tuple[list[FrozenFile], str | None]:
    """(files, source run) of a logged model: one query, for this is what clients do with every model they register."""
    rows = LoggedModelArtifact.objects.filter(
        model=model_id, model__project=project, model__deleted_at=None
    ).values_list("path", "artifact_id", "size", "media_type", "model__source_run")
    rows_found = list(rows.order_by("path")[: MAX_FILES + 1])
    if not rows_found:
        return [], get_logged_model(project, model_id).source_run_id
    return require_file_count([row[:4] for row in rows_found]), rows_found[0][4]


def freeze_files(owner: Run | LoggedModel, folder: str = "") -> list[FrozenFile]:
    """The files below a folder as they are now. Invalid where there are more than a version takes."""
    return require_file_count(list_files_below(owner, folder, MAX_FILES + 1))


def require_file_count(files: list[FrozenFile]) -> list[FrozenFile]:
    if len(files) > MAX_FILES:
        raise Invalid(
            "There are more files in that folder than one version takes.",
            code="too_many_files",
            field="source",
            limit=MAX_FILES,
            hint=N_("Register the folder of the model alone, or pack its files."),
        )
    return files


def list_frozen_files(version: ModelVersion) -> list[FrozenFile]:
    """Every file of a version, in whatever way it was made: (path, digest, size, media type), in the order of paths."""
    if version.by_client:
        return list(version.files.order_by("path").values_list("path", "artifact_id", "size", "media_type"))
    files = [("version.json", version.digest, len(version.document.encode()), "application/json")]
    for variant in version.variants.select_related("artifact", "manifest"):
        files.append((f"{variant.name}/{variant.file}", variant.artifact_id, variant.size, "application/octet-stream"))
        files.append((f"{variant.name}/model.json", variant.manifest_id, variant.manifest.size, "application/json"))
    return sorted(files)


def find_run_id(project: Project, run_id: str) -> str | None:
    """The key of a run of the project; None where none is asked for. NotFound for one that is not there."""
    if not run_id:
        return None
    if not Run.objects.filter(pk=run_id, project=project).exists():
        raise NotFound("Run with id={run_id} not found", run_id=run_id[:40], field="run_id")
    return run_id


def require_own_run(text: str, run_id: str, made_by: str | None) -> str | None:
    """The run that a model or version came from; Invalid where a request names another."""
    if run_id and run_id != made_by:
        raise build_bad_source_error(
            text, "The run_id request parameter must name the run that the source came from, or be left out."
        )
    return made_by


def get_logged_model(project: Project, model_id: str) -> LoggedModel:
    logged_model = LoggedModel.objects.filter(pk=model_id, project=project, deleted_at=None).first()
    if logged_model is None:
        raise NotFound("Logged model with ID '{model_id}' not found.", model_id=model_id[:40], field="model_id")
    return logged_model


def has_parent_steps(text: str) -> bool:
    """Whether some `..` is in it, however often it was percent-encoded."""
    while (unquoted := unquote(text)) != text:
        text = unquoted
    return ".." in re.split(r"[/\\]", text)


def build_bad_source_error(text: str, why: str) -> Invalid:
    return Invalid(
        "Invalid model version source: {text!r}. {why}", text=text[:200], why=why, code="bad_source", field="source"
    )


def build_foreign_source_error(text: str, name: str) -> Invalid:
    return build_bad_source_error(
        text, f"The {name} request parameter must identify the resource that contains the source."
    )


def find_source_folder(version: ModelVersion) -> tuple[Run | LoggedModel | None, str]:
    """The run or logged model that a version was made of, and the folder in it; None where it is of neither."""
    match = MODEL_URI.fullmatch(version.source)
    if match is not None:
        return (version.logged_model, "") if match["id"] else (None, "")
    split = urlsplit(version.source)
    path = unquote(split.path).strip("/")
    if split.scheme == "runs":
        return version.run, path.partition("/")[2]
    place = parse_place(path)
    if place is None or place.version is not None:
        return None, ""
    return version.logged_model if place.model else version.run, place.path
