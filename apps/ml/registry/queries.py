"""What pages, REST and services read of the registry: rows by what may be seen, the history of aliases, comparisons."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Subquery, When

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.data.datasets.queries import build_number_filter
from apps.ml.registry.models import (
    Alias,
    AliasMove,
    Model,
    ModelQuerySet,
    ModelVersion,
    ModelVersionFile,
    ModelVersionQuerySet,
    ModelVersionTag,
    Variant,
    VersionBlock,
)
from apps.ml.registry.states import PRODUCTION, SUBJECT
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from apps.platform.approvals.queries import LARGE
from deepseek.messages import N_

MAX_ALIASES = 100
MAX_MOVES = 50
MAX_FILES = 500
MAX_TAGS_SHOWN = 500


# -- rows -----------------------------------------------------------------------------------------------------------
def list_models(actor: Actor, project: Project, *, query: str = "") -> ModelQuerySet:
    """The project's models with `production` (number of the version that holds it, or None), `newest` (likewise), the
    `newest_metrics` and `production_metrics` of those two versions, and `changed_at`, when the newest was registered.

    `query`: a part of the name or the description; empty does not narrow.
    """
    policy.require(actor, "model.view", project)
    name_filter = Q(name__icontains=query) | Q(description__icontains=query) if query else Q()
    newest = ModelVersion.objects.filter(model=OuterRef("pk"), deleted_at=None).order_by("-number")
    production = Alias.objects.filter(model=OuterRef("pk"), name=PRODUCTION)
    return (
        Model.objects.visible_to(actor)
        .filter(name_filter, project=project)
        .annotate(
            production=Subquery(production.values("version__number")),
            production_metrics=Subquery(production.values("version__metrics")),
            newest=Subquery(newest.values("number")[:1]),
            newest_metrics=Subquery(newest.values("metrics")[:1]),
            changed_at=Subquery(newest.values("created_at")[:1]),
        )
    )


def get_model(actor: Actor, project: Project, name: str) -> Model:
    """The model called `name`, annotated as in the list, or NotFound."""
    model = list_models(actor, project).filter(name=name).first()
    if model is None:
        raise NotFound(
            "This project has no model {name!r}.",
            name=name[:60],
            field="model",
            hint=N_("Register a version, or list the models."),
        )
    return model


def list_tags(owner: Model | ModelVersion) -> list[Any]:
    """The tags of a model or a version that was read through its query, by their keys."""
    return list(owner.tags.order_by("key")[:MAX_TAGS_SHOWN])


def list_versions(actor: Actor, model: Model) -> ModelVersionQuerySet:
    """The versions of one model with their aliases, without their documents. Page them by `-number`."""
    policy.require(actor, "model.view", model)
    visible = ModelVersion.objects.visible_to(actor).filter(model=model)
    return visible.select_related("model").defer("document").prefetch_related("aliases")


def get_version(actor: Actor, project: Project, name: str, which: str) -> ModelVersion:
    """A version by its number or by its digest, with its run, or NotFound; Invalid for what is neither.

    `is_blocked` and `has_tags` stand on it, so that a page asks for the block and for tags only where there are some.
    """
    policy.require(actor, "model.view", project)
    version = (
        ModelVersion.objects.visible_to(actor)
        .select_related("model__project", "run", "logged_model")
        .filter(model__project=project, model__name=name, model__deleted_at=None)
        .filter(**build_number_filter(which))
        .annotate(
            is_blocked=Exists(VersionBlock.objects.filter(version=OuterRef("pk"), lifted_at=None)),
            has_tags=Exists(ModelVersionTag.objects.filter(version=OuterRef("pk"))),
        )
        .first()
    )
    if version is None:
        raise NotFound(
            "This project has no version {which} of a model {name!r}.",
            which=which[:12],
            name=name[:60],
            field="version",
        )
    return version


def list_version_files(actor: Actor, version: ModelVersion) -> list[ModelVersionFile]:
    """The first files of a version that a client made, with their artifacts: one query."""
    policy.require(actor, "model.view", version)
    return list(version.files.select_related("artifact").order_by("path")[:MAX_FILES])


def list_variants(actor: Actor, version: ModelVersion) -> list[Variant]:
    """The variants of a version, the trained one first, with their artifacts: one query."""
    policy.require(actor, "model.view", version)
    return list(version.variants.select_related("artifact", "manifest", "parent").order_by("pk"))


# -- aliases --------------------------------------------------------------------------------------------------------
def list_aliases(actor: Actor, model: Model) -> list[Alias]:
    """Where the aliases of a model point: `production` first, however many there are, then by name."""
    policy.require(actor, "model.view", model)
    first = Case(When(name=PRODUCTION, then=0), default=1)
    return list(model.aliases.select_related("version__model").order_by(first, "name")[:MAX_ALIASES])


def get_alias(actor: Actor, project: Project, model: str, name: str) -> Alias:
    """The alias with its version, or NotFound."""
    policy.require(actor, "model.view", project)
    alias = (
        Alias.objects.select_related("version__model__project", "version__run")
        .filter(model__project=project, model__name=model, model__deleted_at=None, name=name)
        .filter(version__deleted_at=None)
        .first()
    )
    if alias is None:
        raise NotFound(
            "No version of {model!r} in this project is called {name!r}.",
            model=model[:60],
            name=name[:60],
            field="alias",
            hint=N_("List the versions of the model: each names its aliases."),
        )
    return alias


def list_moves(actor: Actor, model: Model) -> list[AliasMove]:
    """The newest moves of all aliases of a model."""
    policy.require(actor, "model.view", model)
    rows = model.alias_moves.select_related("from_version", "to_version", "approval")
    return list(rows.order_by("-pk")[:MAX_MOVES])


def list_version_moves(actor: Actor, version: ModelVersion) -> list[AliasMove]:
    """The newest moves of aliases to and from one version."""
    policy.require(actor, "model.view", version)
    rows = AliasMove.objects.select_related("from_version", "to_version", "approval").filter(model=version.model_id)
    return list(rows.filter(Q(to_version=version) | Q(from_version=version)).order_by("-pk")[:MAX_MOVES])


def list_approvals(actor: Actor, version: ModelVersion) -> list[Approval]:
    """The newest requests to let production point to this version, with `given`; without their facts."""
    policy.require(actor, "approval.view", version.model)
    approvals = Approval.objects.visible_to(actor).filter(project=version.project_id, subject_type=SUBJECT)
    return list(approvals.filter(subject_id=str(version.pk)).with_given().defer(*LARGE).order_by("-pk")[:MAX_MOVES])


def get_holders(model: Model, alias: str) -> tuple[AliasMove | None, AliasMove | None]:
    """The move that made the alias point to where it does, and the one whose version a rollback would restore."""
    newest = list(list_alias_moves(model, alias)[:2])
    if not newest:
        return None, None
    top, *rest = newest
    below = (
        next(iter(rest), None)
        if top.origin is None
        else list_alias_moves(model, alias).filter(pk__lt=top.origin.pk).first()
    )
    return top, below.stands_for if below else None


def list_alias_moves(model: Model, alias: str) -> QuerySet[AliasMove]:
    related = ("to_version__model", "approval", "origin__to_version__model", "origin__approval", "model")
    return AliasMove.objects.select_related(*related).filter(model=model, alias=alias).order_by("-pk")


# -- comparisons ----------------------------------------------------------------------------------------------------
def get_other(actor: Actor, version: ModelVersion, which: str) -> ModelVersion:
    """The version to compare with: `production`, or a number or digest of the same model. NotFound if there is none."""
    project, name = version.model.project, version.model.name
    if which == PRODUCTION:
        return get_alias(actor, project, name, PRODUCTION).version
    return get_version(actor, project, name, which)
