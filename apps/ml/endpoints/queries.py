"""What pages, REST and the nodes read of endpoints."""

from __future__ import annotations

from django.db.models import BooleanField, Case, QuerySet, When

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.request_values import validate_choice
from apps.ml.endpoints.models import Endpoint, EndpointQuerySet, Replica
from apps.ml.endpoints.states import EndpointState
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import Project
from apps.platform.nodes.extras import SERVING
from apps.platform.nodes.models import Node, build_online_filter
from deepseek.messages import N_

MAX_CANDIDATES = 100  # versions that a form offers for a shadow
FILTERS = ("state", "model", "name")


def list_endpoints(
    actor: Actor, project: Project, *, state: str = "", model: str = "", name: str = ""
) -> EndpointQuerySet:
    """The endpoints of the project that fit. Raises Invalid for a state that there is none of."""
    policy.require(actor, "endpoint.view", project)
    validate_choice("state", state, EndpointState.values)
    endpoints = Endpoint.objects.visible_to(actor).filter(project=project).select_related("model", "version__model")
    narrow = {"state": state, "model__name": model, "name__icontains": name}
    return endpoints.filter(**{field: value for field, value in narrow.items() if value})


def get_endpoint(actor: Actor, project: Project, name: str) -> Endpoint:
    policy.require(actor, "endpoint.view", project)
    rows = Endpoint.objects.visible_to(actor).filter(project=project, name=name)
    endpoint = rows.select_related("project", "model", "version__model", "shadow_version__model").first()
    if endpoint is None:
        raise NotFound(
            "This project has no endpoint {name!r}.", name=name[:60], field="endpoint", hint=N_("List the endpoints.")
        )
    return endpoint


def list_replicas(endpoint: Endpoint) -> list[Replica]:
    """The replicas that are wanted, each with `is_fresh`: its node has reported it within the last seconds."""
    return list(annotate_fresh(endpoint.replicas.filter(is_removed=False)).order_by("node__name", "slot"))


def list_nodes(endpoint: Endpoint) -> list[Node]:
    """The nodes that an endpoint has replicas on."""
    return list(Node.objects.filter(replicas__endpoint=endpoint, replicas__is_removed=False).distinct())


def list_variant_names(endpoint: Endpoint) -> list[str]:
    """The forms of the version that it serves, and the one that it is to serve, in the order of their making."""
    variant_names = endpoint.version.variants.order_by("pk").values_list("name", flat=True) if endpoint.version else []
    return list(dict.fromkeys([*variant_names, endpoint.variant]))


def list_shadow_numbers(endpoint: Endpoint) -> list[int]:
    """Versions of its model that may run in shadow, the newest first: those with the form that it serves."""
    versions = ModelVersion.objects.filter(model=endpoint.model_id, variants__name=endpoint.variant)
    numbers = list(versions.order_by("-number").values_list("number", flat=True)[:MAX_CANDIDATES])
    current = endpoint.shadow_version
    return numbers if current is None or current.number in numbers else [*numbers, current.number]


def annotate_fresh(replicas: QuerySet[Replica]) -> QuerySet[Replica]:
    fresh = Case(When(build_online_filter("last_seen"), then=True), default=False, output_field=BooleanField())
    return replicas.select_related("node", "version__model", "endpoint").annotate(is_fresh=fresh)


def list_serving_nodes() -> list[Node]:
    """Nodes that offer to serve models, by name, with `online`."""
    nodes = Node.objects.with_status().order_by("name")
    return [node for node in nodes if SERVING in node.extras]


def list_node_replicas(actor: Actor, node: Node) -> list[Replica]:
    """Every replica of a node, those that are no longer wanted too, with what its keeper needs to run them."""
    policy.require(actor, "endpoint.report")
    related = ("endpoint__model", "endpoint__version__model", "endpoint__shadow_version__model", "version")
    return list(Replica.objects.filter(node=node).select_related(*related).order_by("pk"))
