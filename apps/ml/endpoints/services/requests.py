"""What people and tools ask for: to create, change, suspend, resume and delete an endpoint."""

from __future__ import annotations

from typing import Any, Literal

from django.db import IntegrityError, transaction

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.policy import require
from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.queries import list_nodes
from apps.ml.endpoints.schemas import EndpointBody, EndpointChanges, ShadowBody
from apps.ml.endpoints.services.errors import build_deleted_error, build_state_error
from apps.ml.endpoints.services.following import find_approval
from apps.ml.endpoints.services.placement import find_nodes, place_replicas
from apps.ml.endpoints.states import ACTIVE, EndpointState
from apps.ml.observations.models import ObservationSource
from apps.ml.observations.schemas import SourceBody
from apps.ml.observations.services import create_source
from apps.ml.registry.blocks import require_unblocked
from apps.ml.registry.models import ModelVersion
from apps.ml.registry.queries import get_alias, get_version
from apps.ml.registry.services.validation import check_name, check_text
from apps.platform.accounts.models import Project
from apps.platform.audit.services import change_state, record
from deepseek.messages import N_, record_messages

TASKS: dict[str, Literal["classification", "regression", "other"]] = {
    "classification": "classification",
    "regression": "regression",
    "forecast": "regression",
}
"""How observations compare answers with labels, by the task of the model."""


def create_endpoint(*, actor: Actor, project: Project, body: EndpointBody) -> Endpoint:
    """Serve the version that an alias points to on the chosen nodes. Raises Invalid for an alias that points nowhere,
    a version that cannot be served, a node that offers no serving or has no free port; Conflict for a name in use.
    """
    require(actor, "endpoint.create", project)
    check_name("name", body.name)
    try:
        alias = get_alias(actor, project, body.model, body.alias)
    except NotFound as failure:
        raise Invalid(
            "No version of {model!r} in this project is called {name!r}.",
            model=body.model[:60],
            name=body.alias[:60],
            field="alias",
            limit="an alias that points to a version",
            hint=N_("Set the alias, or request a promotion, first."),
        ) from failure
    require_unblocked(alias.version)
    variant = choose_variant(alias.version, body.variant)
    nodes = find_nodes(body.nodes)
    shadow = find_shadow(actor, project, body.model, variant, body.shadow)
    try:
        with transaction.atomic():
            endpoint = Endpoint.objects.create(
                project=project,
                name=body.name,
                model=alias.version.model,
                alias=body.alias,
                variant=variant,
                replicas_per_node=body.replicas,
                version=alias.version,
                approval_id=find_approval(alias),
                sampling_rate=body.sampling_rate,
                shadow_version=shadow,
                shadow_rate=body.shadow.rate if body.shadow else 1.0,
                created_by=actor.label,
            )
            place_replicas(endpoint, nodes)
            ensure_source(actor, endpoint)
            record(actor=actor, action="endpoint.create", obj=endpoint, after=describe_endpoint(endpoint))
    except IntegrityError:
        raise Conflict(
            "There is an endpoint {name!r} already, or another one took its port.",
            name=body.name,
            code="name_taken",
            field="name",
            hint=N_("Choose another name, or try again."),
        ) from None
    return endpoint


def update_endpoint(*, actor: Actor, endpoint: Endpoint, changes: EndpointChanges) -> Endpoint:
    """Change its nodes, replicas, variant, sampling or shadow; what is left out stays, the same again is no change."""
    require(actor, "endpoint.update", endpoint)
    fields = changes.model_fields_set
    for name in fields - {"shadow"}:
        if getattr(changes, name) is None:
            raise Invalid("{name} must not be null.", name=name, field=name, hint=N_("Leave it out to keep it."))
    variant = endpoint.variant
    if changes.variant is not None and endpoint.version is not None:
        variant = choose_variant(endpoint.version, changes.variant)
    shadow = find_shadow(actor, endpoint.project, endpoint.model.name, variant, changes.shadow)
    nodes = find_nodes(changes.nodes) if changes.nodes is not None else None
    with transaction.atomic():
        row = Endpoint.objects.select_for_update().select_related("project", "model").get(pk=endpoint.pk)
        if row.state == EndpointState.DELETED:
            raise build_deleted_error(row)
        before = describe_endpoint(row)
        if changes.replicas is not None:
            row.replicas_per_node = changes.replicas
        if changes.variant is not None:
            row.variant = variant
        if changes.sampling_rate is not None:
            row.sampling_rate = changes.sampling_rate
        if "shadow" in fields:
            row.shadow_version = shadow
            row.shadow_rate = changes.shadow.rate if changes.shadow else 1.0
        if row.shadow_version is not None and "shadow" not in fields:
            choose_variant(row.shadow_version, row.variant)
        row.save(update_fields=["replicas_per_node", "variant", "sampling_rate", "shadow_version", "shadow_rate"])
        place_replicas(row, nodes if nodes is not None else list_nodes(row))
        ensure_source(actor, row)
        after = describe_endpoint(row)
        changed = [name for name in after if after[name] != before[name]]
        if changed:
            record(
                actor=actor,
                action="endpoint.update",
                obj=row,
                before={name: before[name] for name in changed},
                after={name: after[name] for name in changed},
            )
    return row


def ensure_source(actor: Actor, endpoint: Endpoint) -> None:
    """Let what the servers record be observations of a source of the endpoint's name."""
    if not endpoint.sampling_rate:
        return
    if ObservationSource.objects.filter(project=endpoint.project_id, name=endpoint.name).exists():
        return
    task = TASKS.get(endpoint.version.task if endpoint.version else "", "other")
    body = SourceBody(name=endpoint.name, kind="endpoint", task=task)
    create_source(actor=actor, project=endpoint.project, body=body)


def suspend_endpoint(*, actor: Actor, endpoint: Endpoint, reason: str = "") -> Endpoint:
    """Let its nodes stop the servers; its name, ports and settings stay. Conflict if it does not serve."""
    require(actor, "endpoint.suspend", endpoint)
    if endpoint.state not in ACTIVE:
        raise build_state_error(endpoint)
    return move_endpoint(endpoint, EndpointState.SUSPENDED, actor, "endpoint.suspend", reason)


def resume_endpoint(*, actor: Actor, endpoint: Endpoint) -> Endpoint:
    """Let a suspended endpoint serve again. Conflict if it is not suspended."""
    require(actor, "endpoint.resume", endpoint)
    if endpoint.state != EndpointState.SUSPENDED:
        raise build_state_error(endpoint)
    if endpoint.version is not None:
        require_unblocked(endpoint.version)
    with transaction.atomic():
        endpoint.replicas.update(last_seen=None)  # what was reported of them is of before
        return move_endpoint(endpoint, EndpointState.STARTING, actor, "endpoint.resume")


def stop_shadow(*, actor: Actor, endpoint: Endpoint, reason: str = "") -> None:
    """Let the candidate see the traffic no longer; one that is not there is no change."""
    require(actor, "endpoint.stop_shadow", endpoint)
    with transaction.atomic():
        row = Endpoint.objects.select_for_update(of=("self",)).select_related("shadow_version").get(pk=endpoint.pk)
        if row.shadow_version is None:
            return
        before = {"shadow": {"version": row.shadow_version.number, "rate": row.shadow_rate}}
        row.shadow_version, row.shadow_rate = None, 1.0
        row.save(update_fields=["shadow_version", "shadow_rate"])
        record(
            actor=actor, action="endpoint.stop_shadow", obj=row, reason=reason, before=before, after={"shadow": None}
        )


def delete_endpoint(*, actor: Actor, endpoint: Endpoint, reason: str = "") -> None:
    """End it for good: its nodes stop the servers and free the ports; its name may be used again."""
    require(actor, "endpoint.delete", endpoint)
    with transaction.atomic():
        move_endpoint(endpoint, EndpointState.DELETED, actor, "endpoint.delete", reason)
        endpoint.replicas.update(is_removed=True)
        endpoint.replicas.filter(last_seen=None).delete()  # no node has begun with these


def move_endpoint(endpoint: Endpoint, to: str, actor: Actor, action: str, reason: str = "") -> Endpoint:
    check_text("reason", reason, 500)
    why = record_messages({"message": reason}) if reason else {}
    return change_state(endpoint, to, actor=actor, action=action, reason=reason, state_reason=why)


def describe_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """Its settings, as the trail records them."""
    shadow = endpoint.shadow_version
    return {
        "name": endpoint.name,
        "model": endpoint.model.name,
        "alias": endpoint.alias,
        "variant": endpoint.variant,
        "version": endpoint.version.number if endpoint.version else None,
        "nodes": sorted(node.name for node in list_nodes(endpoint)),
        "replicas": endpoint.replicas_per_node,
        "sampling_rate": endpoint.sampling_rate,
        "shadow": {"version": shadow.number, "rate": endpoint.shadow_rate} if shadow else None,
    }


def choose_variant(version: ModelVersion, name: str) -> str:
    """The form that is served: the one called `name`, or the one that was trained. Invalid if there is none."""
    names = list(version.variants.order_by("pk").values_list("name", flat=True))
    if not names:
        raise Invalid(
            "{version} has no form that can be served.",
            version=version,
            code="not_servable",
            field="model",
            limit="a version that a register job made",
            hint=N_("Register the model by a job, or convert it first."),
        )
    if name and name not in names:
        raise Invalid(
            "{version} has no variant {name!r}.",
            version=version,
            name=name,
            field="variant",
            limit=", ".join(names),
            hint=N_("Take one of these."),
        )
    return name or names[0]


def find_shadow(
    actor: Actor, project: Project, model: str, variant: str, body: ShadowBody | None
) -> ModelVersion | None:
    """The candidate of a shadow. Invalid for a version that the model has not, or without the form that is served."""
    if body is None:
        return None
    try:
        version = get_version(actor, project, model, str(body.version))
    except NotFound:
        raise Invalid(
            "The model {model} has no version {number}.",
            model=model,
            number=body.version,
            field="shadow",
            hint=N_("List the versions of the model."),
        ) from None
    require_unblocked(version)
    choose_variant(version, variant)
    return version
