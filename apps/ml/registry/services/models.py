"""Models: made, renamed, described, deleted. The plane's own forms ask for slugs; clients give any name."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.db import fast_sql
from apps.core.errors import Conflict, NotFound
from apps.core.revisions import require_revision
from apps.ml.registry.models import Alias, Model, ModelTag, ModelVersion
from apps.ml.registry.services.deletion_guards import require_free, require_unused
from apps.ml.registry.services.tag_records import build_initial_tag_digests, build_recorded_tags
from apps.ml.registry.services.validation import check_any_name, check_name, check_tag, check_text
from apps.platform.accounts.models import Project
from apps.platform.audit import services as audit
from apps.platform.jobs.provenance import resolve_requester
from deepseek.messages import N_

MAX_DESCRIPTION_LENGTH = 5000


def create_model(*, actor: Actor, project: Project, name: str, description: str = "") -> Model:
    """A new model without versions. Raises Invalid for a name that cannot be one, Conflict for one that is taken."""
    policy.require(actor, "model.create", project)
    check_name("name", name)
    check_text("description", description, 500)
    return create_unique_model(actor, project, name, description, {})


def create_client_model(
    *, actor: Actor, project: Project, name: str, description: str = "", tags: Mapping[str, str] | None = None
) -> Model:
    """The same for MLflow's clients: any name without `/` and `:`, a longer description, tags."""
    policy.require(actor, "model.create", project)
    check_any_name(name)
    check_text("description", description, MAX_DESCRIPTION_LENGTH)
    for key, value in (tags or {}).items():
        check_tag(key, value)
    return create_unique_model(actor, project, name, description, tags or {})


def create_unique_model(actor: Actor, project: Project, name: str, description: str, tags: Mapping[str, str]) -> Model:
    try:
        with transaction.atomic():
            return insert_model(actor, project, name, description, tags)
    except IntegrityError:
        raise build_model_exists_error(name) from None


def build_model_exists_error(name: str) -> Conflict:
    return Conflict(
        "The project has a model {name!r} already.",
        name=name,
        code="model_exists",
        field="name",
        hint=N_("Register a version in it, or choose another name."),
    )


def ensure_model(*, actor: Actor, project: Project, name: str) -> Model:
    """The model called `name`, made if the project has none; two at once make one."""
    existing = Model.objects.filter(project=project, name=name, deleted_at=None).first()
    if existing is not None:
        policy.require(actor, "model.view", existing)
        return existing
    policy.require(actor, "model.create", project)
    check_name("name", name)
    try:
        with transaction.atomic():
            return insert_model(actor, project, name, "")
    except IntegrityError:
        return Model.objects.get(project=project, name=name, deleted_at=None)


def insert_model(
    actor: Actor, project: Project, name: str, description: str, tags: Mapping[str, str] | None = None
) -> Model:
    model = Model(project=project, name=name, description=description, created_by=resolve_requester(actor))
    model.save(force_insert=True)
    tag_rows = [ModelTag(model=model, key=key, value=value) for key, value in (tags or {}).items()]
    after = {"name": name, "description": description, **({"tags": build_recorded_tags(tags)} if tags else {})}
    digests = build_initial_tag_digests(tags or {})
    fact = audit.draft(actor=actor, action="model.create", obj=model, after=after, digests=digests)
    fast_sql.insert_rows([*tag_rows, fact])
    return model


# -- what is said of one --------------------------------------------------------------------------------------------
def describe_model(*, actor: Actor, model: Model, description: str, revision: str | None = None) -> Model:
    """Replace what is said about a model; the same again changes nothing and leaves no record.

    `revision`: that of the text the change was made from; None replaces whatever stands there. Raises Invalid for a
    text that is too long, StaleState where somebody else changed it meanwhile.
    """
    policy.require(actor, "model.annotate", model)
    check_text("description", description, MAX_DESCRIPTION_LENGTH)
    with transaction.atomic():
        locked = lock_model(model)
        before = locked.description
        if description == before:
            model.description = before  # the caller's row may be older
            return model
        require_revision(revision, read_texts(locked))
        update_model(model, description=description)
        audit.record(
            actor=actor,
            action="model.describe",
            obj=model,
            before={"description": before},
            after={"description": description},
        )
    return model


def read_texts(model: Model) -> dict[str, str]:
    """What people say about the model; its revision is of this text."""
    return {"description": model.description}


def rename_model(*, actor: Actor, model: Model, name: str) -> Model:
    """Another name for a model; its versions and aliases go along.

    Raises Conflict for a name that is taken, and for a model in production: whoever asks for production of the old name
    would get nothing, or what somebody else puts there.
    """
    policy.require(actor, "model.annotate", model)
    check_any_name(name)
    try:
        with transaction.atomic():
            before = lock_model(model).name
            if before == name:
                return model
            require_free(model)
            update_model(model, name=name)
            audit.record(actor=actor, action="model.rename", obj=model, before={"name": before}, after={"name": name})
    except IntegrityError:
        raise build_model_exists_error(name) from None
    return model


def delete_model(*, actor: Actor, model: Model) -> None:
    """Take a model and its versions out of every list; its name is free again, its rows and bytes stay.

    Raises Conflict where production points to one of them or once did, where an approval waits, where lineage says that
    something was made from one, or where one is held.
    """
    policy.require(actor, "model.delete", model)
    with transaction.atomic():
        lock_model(model)
        require_unused(model, ModelVersion.objects.filter(model=model, deleted_at=None))
        now = timezone.now()
        aliases = sorted(Alias.objects.filter(model=model).values_list("name", flat=True))
        Alias.objects.filter(model=model).delete()
        count = ModelVersion.objects.filter(model=model, deleted_at=None).update(deleted_at=now)
        Model.objects.filter(pk=model.pk).update(deleted_at=now)
        audit.record(
            actor=actor,
            action="model.delete",
            obj=model,
            before={"name": model.name, "versions": count, "aliases": aliases},
        )


def lock_model(model: Model) -> Model:
    """The row of a model as it is now, which nobody else changes until the transaction ends; NotFound if it is gone."""
    row = Model.objects.select_for_update().filter(pk=model.pk, deleted_at=None).first()
    if row is None:
        raise NotFound(
            "This project has no model {model_name!r}.",
            model_name=model.name[:60],
            field="model",
            hint=N_("List the models."),
        )
    return row


def update_model(model: Model, **fields: str) -> None:
    now = timezone.now()
    Model.objects.filter(pk=model.pk).update(updated_at=now, **fields)
    model.updated_at = now
    for name, value in fields.items():
        setattr(model, name, value)
