"""manage.py node_token NODE [--revoke]: the token of a node's doctor."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.core.errors import NotFound
from apps.platform.accounts.management.base import OperatorCommand
from apps.platform.nodes.health.services import issue_node_token, revoke_node_token
from apps.platform.nodes.models import Node


class Command(OperatorCommand):
    help = "Issue the token by which deepseek-doctor reports of a node, in place of the one before; or take it away."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("node", help="name of a node that has registered")
        parser.add_argument("--revoke", action="store_true", help="take the token away")

    def handle(self, *args: Any, **options: Any) -> None:
        node = Node.objects.filter(name=options["node"]).first()
        if node is None:
            raise NotFound("There is no node {name!r}.", name=options["node"][:120], field="NODE")
        if options["revoke"]:
            revoke_node_token(actor=self.actor, node=node)
            self.stderr.write(f"The token of {node.name} is revoked.")
            return
        self.stdout.write(issue_node_token(actor=self.actor, node=node))
        self.stderr.write("Shown once. Give it to the node's doctor as DEEPSEEK_TOKEN, beside DEEPSEEK_URL.")
