"""The models that clients log: made with their first words, given files, declared ready, deleted.

Their params and tags are telemetry, as those of a run: the record of the model's end names them and its files by their
digests, and what is changed after it has a record of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import compute_digest
from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.core.policy import build_audit_reference, require
from apps.ml.experiments.files.tree import list_files
from apps.ml.experiments.keys import PARAM_LIMIT, TAG_LIMIT, check_key, check_length
from apps.ml.experiments.models import Experiment, LoggedModel, LoggedModelParam, LoggedModelTag, Run
from apps.ml.experiments.states import DECLARED, LoggedModelState
from apps.platform.accounts.models import Project
from apps.platform.audit.services import change_state, record
from apps.platform.holds.queries import refuse_held
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_with
from deepseek.messages import N_

NAME_LIMIT, TYPE_LIMIT = 500, 500
NOT_IN_A_NAME = ("/", ":", ".", "%", '"', "'")
PARAMS_LIMIT = 1000  # of one model
VERSIONS_TAG = "mlflow.modelVersions"  # JSON: [{"name": "iris", "version": 1}, ...]


def create_logged_model(
    *,
    actor: Actor,
    project: Project,
    experiment: Experiment,
    name: str,
    model_type: str = "",
    source_run: Run | None = None,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> LoggedModel:
    """A logged model whose files are still to come. Raises Invalid for a name that cannot be one, or a deleted
    experiment; Refused where it would say that a job made it.
    """
    require(actor, "run.track", project)
    if source_run is not None and source_run.job_id is not None and actor.run_id != source_run.pk:
        raise Refused(
            "Run {source_run_pk} is kept by job {job_id}; what a job made is not claimed by hand.",
            source_run_pk=source_run.pk,
            job_id=source_run.job_id,
            code="kept_by_a_job",
            action="run.track",
            field="source_run_id",
            hint=N_("Log models of a run of your own."),
            project_id=project.pk,
            **build_audit_reference(source_run),
        )
    if not name or any(each in name for each in NOT_IN_A_NAME):
        raise Invalid(
            "Invalid model name ({name!r}) provided. Model name must be a non-empty string and "
            "cannot contain the following characters: {not_in_a_name}",
            name=name[:60],
            not_in_a_name=NOT_IN_A_NAME,
            code="bad_name",
            field="name",
            limit=" ".join(NOT_IN_A_NAME),
        )
    check_length(name, "name", NAME_LIMIT)
    check_length(model_type, "model_type", TYPE_LIMIT)
    checked = check_and_cut_pairs(params or {}, PARAM_LIMIT), check_and_cut_pairs(tags or {}, TAG_LIMIT)
    if experiment.deleted_at is not None:
        raise Invalid(
            "The experiment {experiment_number} must be in the 'active' state. Current state is deleted.",
            experiment_number=experiment.number,
            code="experiment_deleted",
            field="experiment_id",
            hint=N_("Restore it first."),
        )
    with transaction.atomic():
        model = LoggedModel.objects.create(
            project=project,
            experiment=experiment,
            name=name,
            model_type=model_type,
            source_run=source_run,
            created_by=actor.label,
        )
        add_pairs(model, *checked)
        record(
            actor=actor,
            action="logged_model.create",
            obj=model,
            after={"name": name, "experiment": experiment.number, "run": source_run.pk if source_run else None},
        )
        if source_run is not None:
            run = End("run", source_run.pk, label=source_run.name)
            record_with(project, [EdgeSpec.between(run, build_model_end(model), "model")])
    return model


def finish_logged_model(*, actor: Actor, model: LoggedModel, state: str) -> LoggedModel:
    """Say that the files of a model have come, or have not. The record names all of them by one digest, and what else
    the model has by two.
    """
    require(actor, "run.track", model)
    if state == model.state:
        return model
    files = sorted(list_files(model).values_list("path", "artifact_id"))
    return change_state(
        model,
        state,
        actor=actor,
        action=f"logged_model.{state}",
        guard={"deleted_at": None},
        digests={
            "files": compute_digest([list(row) for row in files]),
            "params": compute_digest(dict(model.params.values_list("key", "value"))),
            "tags": compute_digest(dict(model.tags.values_list("key", "value"))),
        },
        updated_at=timezone.now(),
    )


def add_logged_model_params(*, actor: Actor, model: LoggedModel, params: Mapping[str, str]) -> None:
    """Params beside those that it has; the same again is fine, another value is Invalid."""
    require(actor, "run.track", model)
    new_params = check_and_cut_pairs(params, PARAM_LIMIT)
    with transaction.atomic():
        touch(model)
        existing = dict(model.params.filter(key__in=new_params).values_list("key", "value"))
        for key, value in existing.items():
            if new_params[key] != value:
                raise Invalid(
                    "Changing param values is not allowed. Param with key='{key}' was already logged with "
                    "value='{found}' for model ID='{model_pk}'.",
                    key=key,
                    found=value[:100],
                    model_pk=model.pk,
                    code="param_changed",
                    field="params",
                    hint=N_("Log a model anew for other params."),
                )
        fresh = {key: value for key, value in new_params.items() if key not in existing}
        if fresh and model.params.count() + len(fresh) > PARAMS_LIMIT:
            raise Invalid("A logged model has too many params.", field="params", limit=PARAMS_LIMIT)
        add_pairs(model, fresh, {})
        record_model_amendment(actor, model, params=fresh)


def tag_logged_model(*, actor: Actor, model: LoggedModel, tags: Mapping[str, str]) -> None:
    """Set tags; each has one value."""
    require(actor, "run.track", model)
    new_tags = check_and_cut_pairs(tags, TAG_LIMIT)
    if not new_tags:
        return
    with transaction.atomic():
        touch(model)
        LoggedModelTag.objects.bulk_create(
            [LoggedModelTag(model=model, key=key, value=value) for key, value in new_tags.items()],
            update_conflicts=True,
            unique_fields=["model", "key"],
            update_fields=["value"],
        )
        record_model_amendment(actor, model, tags=new_tags)


def add_version_to_tag(*, actor: Actor, project: Project, model_id: str, name: str, number: int) -> None:
    """Name a new version in the tag by which clients find what a logged model became. Call it in a transaction.

    A model that was deleted keeps its tag as it is. Where the list outgrows a tag, its oldest versions go.
    """
    require(actor, "model.record_version", project)
    changed = LoggedModel.objects.filter(pk=model_id, project=project, deleted_at=None)
    if not changed.update(updated_at=timezone.now()):  # which locks the row: two versions at once are both named
        return
    tags = LoggedModelTag.objects.filter(model=model_id, key=VERSIONS_TAG)
    versions = read_versions(tags.values_list("value", flat=True).first() or "")
    version = {"name": name, "version": number}
    if version in versions:
        return
    versions.append(version)
    while len(value := json.dumps(versions)) > TAG_LIMIT and len(versions) > 1:
        versions.pop(0)
    LoggedModelTag.objects.bulk_create(
        [LoggedModelTag(model_id=model_id, key=VERSIONS_TAG, value=value)],
        update_conflicts=True,
        unique_fields=["model", "key"],
        update_fields=["value"],
    )


def read_versions(text: str) -> list[object]:
    """The list in such a tag; empty for what a client has written there that is none."""
    try:
        versions = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return versions if isinstance(versions, list) else []


def delete_logged_model_tag(*, actor: Actor, model: LoggedModel, key: str) -> None:
    """Take a tag away; NotFound if there is none."""
    require(actor, "run.track", model)
    with transaction.atomic():
        touch(model)
        if not model.tags.delete_key(key):
            raise NotFound(
                "No tag with key {key!r} found for model with ID {model_pk!r}.",
                key=key[:60],
                model_pk=model.pk,
                field="key",
            )
        record_model_amendment(actor, model, tags={key: None})


def delete_logged_model(*, actor: Actor, model: LoggedModel) -> None:
    """Take a logged model out of every list. Versions made of its files keep them. Conflict where it is held."""
    require(actor, "run.track", model)
    now = timezone.now()
    with transaction.atomic():
        if LoggedModel.objects.filter(pk=model.pk, deleted_at=None).update(deleted_at=now, updated_at=now):
            refuse_held(model.project_id, ("loggedmodel", model.pk), ("experiment", str(model.experiment_id)))
            record(actor=actor, action="logged_model.delete", obj=model, before={"name": model.name})


def record_model_amendment(actor: Actor, model: LoggedModel, **what: Mapping[str, str | None]) -> None:
    """A model was changed; where that was after its end, no other record holds it. Its row is locked."""
    changes = {name: dict(pairs) for name, pairs in what.items() if pairs}
    if changes and LoggedModel.objects.filter(pk=model.pk, state__in=DECLARED).exists():
        changed_keys = {name: sorted(pairs) for name, pairs in changes.items()}
        digests = {name: compute_digest(pairs) for name, pairs in changes.items()}
        record(actor=actor, action="logged_model.amend", obj=model, after=changed_keys, digests=digests)


def touch(model: LoggedModel) -> None:
    """Note the change; NotFound for a model that was deleted. The row is locked until the transaction ends."""
    if not LoggedModel.objects.filter(pk=model.pk, deleted_at=None).update(updated_at=timezone.now()):
        raise NotFound("Logged model with ID '{model_pk}' not found.", model_pk=model.pk, field="model_id")


def check_and_cut_pairs(pairs: Mapping[str, str], limit: int) -> dict[str, str]:
    """Values cut to `limit` characters, as the reference does with those of a run."""
    for key in pairs:
        check_key(key)
    return {key: value[:limit] for key, value in pairs.items()}


def add_pairs(model: LoggedModel, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
    try:
        if params:
            rows = [LoggedModelParam(model=model, key=key, value=value) for key, value in params.items()]
            LoggedModelParam.objects.bulk_create(rows)
        if tags:
            LoggedModelTag.objects.bulk_create(
                LoggedModelTag(model=model, key=key, value=value) for key, value in tags.items()
            )
    except IntegrityError:
        raise Conflict(
            "Somebody else logged the same param meanwhile.", field="params", hint=N_("Send it again.")
        ) from None


def build_model_end(model: LoggedModel) -> End:
    return End("logged_model", model.pk, label=model.name)


STATES = {  # MLflow's words
    "LOGGED_MODEL_STATUS_UNSPECIFIED": LoggedModelState.UNSPECIFIED,
    "LOGGED_MODEL_PENDING": LoggedModelState.PENDING,
    "LOGGED_MODEL_READY": LoggedModelState.READY,
    "LOGGED_MODEL_UPLOAD_FAILED": LoggedModelState.UPLOAD_FAILED,
}
