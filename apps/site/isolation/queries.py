"""Reads of isolation: the policy, the newest report of each node, and the lamp."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Now

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.platform.nodes.models import Node
from apps.site.isolation.models import PolicyVersion, ProbeReport
from deepseek.isolation.iptables import render_commands
from deepseek.isolation.nftables import render_table
from deepseek.isolation.rules import build_allowances
from deepseek.isolation.spec import Policy
from deepseek.messages import N_

STALE_AFTER = timedelta(hours=26)
"""A report older than this proves nothing about now: nodes verify once a day."""
MAX_NODES = 500


@dataclass(frozen=True, slots=True)
class NodeProof:
    """The last report of a node. `status`: refused, passed, unknown, stale or never."""

    name: str
    status: str
    at: datetime | None = None
    passed: tuple[str, ...] = ()
    has_policy: bool = False  # whether it has applied the newest version
    availability: str = ""  # of the node itself: online, held or offline


@dataclass(frozen=True, slots=True)
class Proof:
    """Of all nodes together: the worst status, and the nodes behind it."""

    status: str
    nodes: tuple[NodeProof, ...]

    @property
    def at(self) -> datetime | None:
        """When the oldest of the reports came that it rests on."""
        times = [node.at for node in self.nodes if node.at is not None]
        return min(times) if times else None

    def list_names(self, status: str) -> list[str]:
        return [node.name for node in self.nodes if node.status == status]


def get_current_policy(actor: Actor) -> PolicyVersion | None:
    """The newest version, or None where there is none."""
    policy.require(actor, "isolation.view")
    return PolicyVersion.objects.visible_to(actor).order_by("-number").first()


def get_policy_for_node(actor: Actor) -> PolicyVersion:
    """The newest version, for a node to apply. Raises NotFound where there is none."""
    policy.require(actor, "isolation.read_policy")
    version = PolicyVersion.objects.order_by("-number").first()
    if version is None:
        raise NotFound("This plane has no network policy.", field="policy", hint=N_("Write one on the page Isolation."))
    return version


def list_policy_versions(actor: Actor) -> QuerySet[PolicyVersion]:
    policy.require(actor, "isolation.view")
    return PolicyVersion.objects.visible_to(actor).order_by("-number")


def list_reports(actor: Actor, node_name: str = "") -> QuerySet[ProbeReport]:
    """Reports, of one node where it is named. Raises NotFound for a node that there is not."""
    policy.require(actor, "isolation.view")
    reports = ProbeReport.objects.visible_to(actor).select_related("node")
    if not node_name:
        return reports
    node = Node.objects.filter(name=node_name).first()
    if node is None:
        raise NotFound("There is no node {name!r}.", name=node_name[:120], field="node")
    return reports.filter(node=node)


def get_proof(actor: Actor) -> Proof:
    """What is proven of every node. One query."""
    policy.require(actor, "isolation.view")
    newest = ProbeReport.objects.filter(node=OuterRef("pk")).order_by("-id")
    nodes = (
        Node.objects.with_status()
        .annotate(
            report_at=Subquery(newest.values("at")[:1]),
            report_verdict=Subquery(newest.values("verdict")[:1]),
            report_digest=Subquery(newest.values("policy_digest")[:1]),
            report_results=Subquery(newest.values("results")[:1]),
            current_digest=Subquery(PolicyVersion.objects.order_by("-number").values("digest")[:1]),
            now=Now(),  # the clock of the database: hosts may disagree
        )
        .order_by("name")
    )
    proofs = tuple(build_node_proof(node) for node in nodes[:MAX_NODES])
    order = ("passed", "unknown", "never", "stale", "refused")
    statuses = {proof.status for proof in proofs}
    return Proof(next((status for status in order if status in statuses), "never"), proofs)


def build_node_proof(node: Any) -> NodeProof:
    if node.report_at is None:
        return NodeProof(node.name, "never", availability=node.status)
    status = node.report_verdict
    if status != "passed" and node.now - node.report_at > STALE_AFTER:
        status = "stale"
    rows = node.report_results or []
    passed = tuple(f"{row['protocol']} {row['target']}" for row in rows if row["verdict"] == "passed")
    has_policy = bool(node.report_digest) and node.report_digest == node.current_digest
    return NodeProof(node.name, status, node.report_at, passed, has_policy, node.status)


def render_policy(document: dict[str, Any]) -> dict[str, str]:
    """The rules of a policy; names are looked up by each node, so here they stand as they are."""
    spec = Policy.model_validate(document)
    allowances = build_allowances(spec, {})
    names = "".join(
        f"# {name}: every node looks its addresses up when it applies the policy\n" for name in spec.list_names()
    )
    return {
        "iptables": names + render_commands(allowances, forwarded=spec.forwarded),
        "nftables": names + render_table(allowances, forwarded=spec.forwarded),
    }
