"""Rollouts as they are planned: the version's variant for each architecture, the devices, the waves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.policy import require
from apps.fleet.devices.filters import parse_query
from apps.fleet.devices.queries import get_group
from apps.fleet.releases.architectures import TORCHLESS, get_architecture
from apps.fleet.rollouts.models import Rollout, RolloutVariant
from apps.fleet.rollouts.planner import summarize
from apps.fleet.rollouts.schemas import RolloutBody, RolloutPlan, read_plan
from apps.fleet.rollouts.services.planning import compute_plan
from apps.ml.registry.models import ModelVersion, Variant
from apps.ml.registry.queries import get_version
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record
from deepseek.messages import N_, Message

ARCHITECTURES = ("x86_64", "aarch64")


def create_rollout(*, actor: Actor, project: Project, body: RolloutBody) -> Rollout:
    """Plan a rollout of a version; nothing happens to a device before it is approved and started.

    Raises NotFound for a version, group or variant that there is none of, Invalid `two_selections`,
    `architecture_mismatch`, FilterError for the query, Conflict `not_deployable`.
    """
    require(actor, "rollout.create", project)
    rollout, variants = build_draft(actor, project, body)
    version = rollout.version
    with transaction.atomic():
        rollout.save()
        RolloutVariant.objects.bulk_create(variants)
        record(
            actor=actor,
            action="rollout.create",
            obj=rollout,
            after={"model": version.model.name, "version": version.number, "group": body.group, "query": rollout.query},
            digests={"version": version.digest, **{row.architecture: row.digest for row in variants}},
        )
    return rollout


def preview_rollout(*, actor: Actor, project: Project, body: RolloutBody) -> dict[str, Any]:
    """The blast radius of a plan (planner.summarize), of which nothing is stored. Raises as `create_rollout`."""
    require(actor, "rollout.create", project)
    rollout, variants = build_draft(actor, project, body)
    rollout.pk = 0  # which no stored one has; another number puts other devices into as large waves
    rollout._prefetched_objects_cache = {"variants": variants}  # type: ignore[attr-defined]
    fleet, selection = compute_plan(rollout)
    return summarize(fleet, read_plan(rollout.plan).waves, selection.excluded)


def build_draft(actor: Actor, project: Project, body: RolloutBody) -> tuple[Rollout, list[RolloutVariant]]:
    """The rows of a plan, not stored yet."""
    version = get_version(actor, project, body.model, str(body.version))
    query = read_selection(actor, project, body)
    for wave in body.waves:
        if wave.group is not None:
            get_group(actor, project, wave.group)
    rollout = Rollout(
        project=project,
        title=body.title.strip(),
        version=version,
        model_name=version.model.name,
        group=body.group,
        query=query,
        plan=body.model_dump(mode="json", include=set(RolloutPlan.model_fields)),
        created_by=actor.label[:200],
    )
    names = {str(name): variant for name, variant in body.variants.items()}
    variants = [
        RolloutVariant(rollout=rollout, architecture=architecture, variant=row, digest=row.artifact_id)
        for architecture, row in choose_variants(version, names).items()
    ]
    return rollout, variants


def read_selection(actor: Actor, project: Project, body: RolloutBody) -> str:
    """The query that selects the devices: a copy, so that a group that is changed later changes no rollout."""
    if body.group and body.query:
        raise Invalid(
            "A group and a query are given.",
            code="two_selections",
            field="query",
            limit="one of group and query",
            hint=N_("Save the narrower query as a group."),
        )
    if body.group:
        return get_group(actor, project, body.group).query
    parse_query(body.query, field="query")
    return body.query


def choose_variants(version: ModelVersion, names: Mapping[str, str]) -> dict[str, Variant]:
    """{architecture: variant}: what is named, else the first that a device serves without torch, its own form first."""
    rows = list(version.variants.select_related("artifact", "manifest", "version__model").order_by("pk"))
    forms = {row.pk: find_architecture(row) for row in rows}
    chosen: dict[str, Variant] = {}
    for architecture in ARCHITECTURES:
        if architecture in names:
            chosen[architecture] = get_named_variant(version, rows, forms, architecture, names[architecture])
            continue
        fitting = [row for row in rows if row.format in TORCHLESS and forms[row.pk] in (architecture, "any")]
        if fitting:
            chosen[architecture] = min(fitting, key=lambda row: forms[row.pk] == "any")
    if not chosen:
        raise Conflict(
            "{version} has no variant that a device serves without torch.",
            version=version,
            code="not_deployable",
            field="variants",
            limit=", ".join(TORCHLESS),
            hint=N_("Quantize it to ONNX, or compile it, and register both; or name a variant."),
        )
    return chosen


def find_architecture(variant: Variant) -> str:
    """The processor that the variant runs on; "" for one that no device has."""
    try:
        return get_architecture(variant)
    except Conflict:
        return ""


def get_named_variant(
    version: ModelVersion, rows: list[Variant], forms: Mapping[int, str], architecture: str, name: str
) -> Variant:
    variant = next((row for row in rows if row.name == name), None)
    field = f"variants/{architecture}"
    if variant is None:
        raise Invalid(
            "{version} has no variant {name!r}.",
            version=version,
            name=name[:60],
            code="variant_unknown",
            field=field,
            limit=", ".join(row.name for row in rows),
        )
    if forms[variant.pk] not in (architecture, "any"):
        raise Invalid(
            "The variant {name} is for {found}.",
            name=variant.name,
            found=forms[variant.pk] or "no device",
            code="architecture_mismatch",
            field=field,
            limit=architecture,
            hint=Message("Name a variant for {architecture}.", architecture=architecture),
        )
    return variant
