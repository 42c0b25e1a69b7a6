"""Who sends a node's token. Nothing else of the plane takes these, and these take no others."""

from __future__ import annotations

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.core.actors import Actor
from apps.core.errors import Unauthenticated
from apps.platform.accounts.actors import get_client_address
from apps.platform.nodes.health.tokens import compute_token_digest
from apps.platform.nodes.models import Node, NodeToken
from deepseek.messages import N_


class NodePrincipal:
    """The node as `request.user`, for the permission classes of REST."""

    is_authenticated = True

    def __init__(self, node: Node) -> None:
        self.node = node


class NodeAuthentication(BaseAuthentication):
    """`Authorization: Bearer dsn_...`: `request.user.node` is the node."""

    def authenticate(self, request: Request) -> tuple[NodePrincipal, None]:
        node = authenticate_node(request._request)
        request._request.actor = build_node_actor(node, request._request)  # type: ignore[attr-defined]
        return NodePrincipal(node), None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="nodes"'


def authenticate_node(request: HttpRequest) -> Node:
    """The node whose token the request brings. Raises Unauthenticated `node_token_unknown`."""
    scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    digest = compute_token_digest(secret.strip()) if scheme.lower() == "bearer" else ""
    token = NodeToken.objects.select_related("node").filter(digest=digest).first() if digest else None
    if token is None:
        raise Unauthenticated(
            "No node has this token.",
            code="node_token_unknown",
            field="Authorization",
            limit="a token that a system administrator has issued for the node",
            hint=N_("Issue one on the node's page, and give it to the doctor as DEEPSEEK_TOKEN."),
        )
    return token.node


def build_node_actor(node: Node, request: HttpRequest | None = None) -> Actor:
    """The node itself, which may report of itself alone."""
    return Actor(
        kind="node",
        label=f"node {node.name}",
        node_id=node.pk,
        address=get_client_address(request) if request else "",
        request_id=getattr(request, "request_id", "") if request else "",
    )
