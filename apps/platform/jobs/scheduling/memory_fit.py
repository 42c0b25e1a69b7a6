"""Whether a training fits the nodes there are: the memory that it will need beside each node's, before it is queued."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from django.utils.translation import gettext_lazy
from pydantic import BaseModel

from apps.platform.jobs.kinds import JobKind, Needs
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling.placement import describe_shortfall, get_total_capacity
from apps.platform.nodes.models import Node
from deepseek.fit.families import FAMILIES, estimate_memory
from deepseek.fit.memory import DataFacts, MemoryEstimate, MemoryParts
from deepseek.fit.remedies import list_remedies
from deepseek.messages import Message

GB = 1e9
MAX_NEED_BYTES = 2**50  # that a job may ask for: a base model's config.json can say any size
PART_LABELS = {
    "parameters": gettext_lazy("Parameters of the network"),
    "gradients": gettext_lazy("Gradients"),
    "optimizer": gettext_lazy("Optimizer"),
    "activations": gettext_lazy("Activations"),
    "copies": gettext_lazy("Best weights, and what comes after training"),
    "data": gettext_lazy("Data"),
    "libraries": gettext_lazy("Libraries"),
    "total": gettext_lazy("Total"),
}


@dataclass(frozen=True, slots=True)
class NodeFit:
    """A node of the queue, and what it lacks of the memory that the job needs of it; 0: nothing.

    `gpu_memory_bytes`: of the smallest GPU that the job would get, None where the node has too few.
    """

    node: str
    memory_bytes: int
    missing_bytes: int
    gpu_memory_bytes: int | None = None
    missing_gpu_bytes: int = 0

    @property
    def fits(self) -> bool:
        return not self.missing_bytes and not self.missing_gpu_bytes


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """An estimate beside the nodes. `needs`: what the job takes of a node, the estimate in the place of a default."""

    estimate: MemoryEstimate
    needs: Needs
    nodes: list[NodeFit] = field(default_factory=list)
    remedies: list[tuple[str, MemoryEstimate]] = field(default_factory=list)

    @property
    def can_run(self) -> bool:
        """Whether it fits a node that is known; a plane without nodes waits for one."""
        return not self.nodes or any(node.fits for node in self.nodes)

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The parts for people, the sum last: name, label, and bytes on the host and on each GPU."""
        host, gpu = self.estimate.host.as_dict(), self.estimate.gpu.as_dict() if self.estimate.gpu else {}
        return [
            {"name": name, "label": label, "host": host[name], "gpu": gpu.get(name, 0)}
            for name, label in PART_LABELS.items()
            if host[name] or gpu.get(name)
        ]

    @property
    def enough_asked(self) -> bool:
        """Whether the job asks for as much as it will take; with less it is stopped at its limit."""
        return self.needs.memory_bytes >= self.estimate.host.total


def estimate_job(kind: str, spec: BaseModel | None, needs: Needs, facts: DataFacts) -> MemoryEstimate | None:
    """What the job will take of each of its nodes; None where that cannot be said."""
    if spec is None or kind not in FAMILIES:
        return None
    return estimate_memory(kind, spec, facts, nodes=needs.nodes, gpus=needs.gpus)


def raise_memory(kind: JobKind, needs: Needs, estimate: MemoryEstimate | None) -> Needs:
    """The needs with the estimate in the place of a default that is too small; what was asked for stays."""
    if estimate is None:
        return needs
    if needs.memory_bytes == kind.needs.memory_bytes:
        needs = replace(needs, memory_bytes=max(needs.memory_bytes, min(estimate.host.total, MAX_NEED_BYTES)))
    if estimate.gpu is not None and needs.gpu_memory_bytes == kind.needs.gpu_memory_bytes:
        needs = replace(needs, gpu_memory_bytes=max(needs.gpu_memory_bytes, min(estimate.gpu.total, MAX_NEED_BYTES)))
    return needs


def build_memory_fit(
    kind: str,
    spec: BaseModel,
    needs: Needs,
    facts: DataFacts,
    estimate: MemoryEstimate,
    *,
    queue: str,
    nodes: Iterable[Node],
) -> MemoryFit:
    """The estimate beside every node of the queue, and what would make the job fit where it fits none."""
    serving = [node for node in nodes if queue in node.queues]
    rows = [compare_node(node, needs, estimate) for node in serving]
    fit = MemoryFit(estimate, needs, rows)
    if fit.can_run:
        return fit

    def fits_a_node(changed: MemoryEstimate) -> bool:
        return any(compare_node(node, needs, changed).fits for node in serving)

    remedies = list_remedies(kind, spec, facts, fits_a_node, nodes=needs.nodes, gpus=needs.gpus)
    return replace(fit, remedies=remedies)


def compare_node(node: Node, needs: Needs, estimate: MemoryEstimate) -> NodeFit:
    """All that the node has for jobs, whatever runs there now, less what the job needs."""
    missing = max(0, estimate.host.total - node.memory_bytes)
    if estimate.gpu is None:
        return NodeFit(node.name, node.memory_bytes, missing)
    largest = sorted((int(gpu["memory_bytes"]) for gpu in node.gpus), reverse=True)
    offered = largest[needs.gpus - 1] if len(largest) >= needs.gpus else None
    return NodeFit(
        node.name, node.memory_bytes, missing, offered, max(0, estimate.gpu.total - (0 if offered is None else offered))
    )


def check_memory(fit: MemoryFit | None, queue: str) -> list[dict[str, Any]]:
    """A training that no known node of its queue can hold, offline ones included: it would wait for ever."""
    if fit is None or fit.can_run:
        return []
    best = min(fit.nodes, key=lambda row: (row.missing_gpu_bytes, row.missing_bytes, row.node))
    is_gpu = best.missing_gpu_bytes > 0 and fit.estimate.gpu is not None
    parts = choose_parts(fit.estimate, is_gpu=is_gpu)
    limit = (best.gpu_memory_bytes or 0) if is_gpu else best.memory_bytes
    values = {
        "need": format_gigabytes(parts.total),
        "parts": describe_parts(parts),
        "queue": queue,
        "node": best.node,
        "limit": format_gigabytes(limit),
    }
    if is_gpu:
        message = Message(
            "The job needs {need} GB of memory on each GPU ({parts}); of the queue {queue} {node} comes nearest, with "
            "{limit} GB.",
            **values,
        )
    else:
        message = Message(
            "The job needs {need} GB of memory ({parts}); of the queue {queue} {node} comes nearest, with {limit} GB.",
            **values,
        )
    return [
        {
            "code": "memory_unfit",
            "message": message,
            "field": "/needs/gpu_memory_bytes" if is_gpu else "/needs/memory_bytes",
            "limit": limit,
            "hint": build_hint(fit, is_gpu=is_gpu),
        }
    ]


def build_hint(fit: MemoryFit, *, is_gpu: bool) -> Message:
    parts = choose_parts(fit.estimate, is_gpu=is_gpu)
    need = format_gigabytes(parts.total)
    if not fit.remedies:
        return Message("A node with {need} GB would hold it; fewer weights or rows need less.", need=need)
    totals = [(name, choose_parts(less, is_gpu=is_gpu).total) for name, less in fit.remedies]
    remedies = ", ".join(f"{name} ({format_gigabytes(total)} GB)" for name, total in totals)
    return Message("Any of these would fit: {remedies}; or a node with {need} GB.", remedies=remedies, need=need)


def choose_parts(estimate: MemoryEstimate, *, is_gpu: bool) -> MemoryParts:
    return estimate.gpu if is_gpu and estimate.gpu is not None else estimate.host


def describe_parts(parts: MemoryParts) -> str:
    """The arithmetic, in gigabytes; what takes nothing is left out."""
    return " + ".join(f"{name} {format_gigabytes(size)}" for name, size in asdict(parts).items() if size)


def format_gigabytes(size: int) -> str:
    return f"{size / GB:.2f}"


def check_node_count(needs: Needs, queue: str, nodes: Iterable[Node]) -> list[dict[str, Any]]:
    """A job over more nodes than the plane knows that could ever take it, offline and held ones included.

    A plane that has no node of the queue yet says nothing: the job waits for them, as any other.
    """
    if needs.nodes <= 1:
        return []
    serving = [node for node in nodes if queue in node.queues]
    job = Job(
        queue=queue,
        need_cpus=needs.cpus,
        need_memory_bytes=needs.memory_bytes,
        need_gpus=needs.gpus,
        need_gpu_memory_bytes=needs.gpu_memory_bytes,
        need_nodes=needs.nodes,
        need_extra=needs.extra,
        need_labels=needs.labels,
    )
    why_not: Mapping[str, str] = {node.name: describe_shortfall(job, get_total_capacity(node)) for node in serving}
    able = [name for name, why in why_not.items() if not why]
    if not serving or len(able) >= needs.nodes:
        return []
    left_out = "; ".join(f"{name} {why}" for name, why in sorted(why_not.items()) if why)
    hint = Message(
        "Ask for at most {count} nodes, or start more workers of the queue {queue}.", count=len(able), queue=queue
    )
    return [
        {
            "code": "nodes_unfit",
            "message": Message(
                "The job asks for {nodes} nodes; the plane knows {count} of the queue {queue} that could take it.",
                nodes=needs.nodes,
                count=len(able),
                queue=queue,
            ),
            "field": "/needs/nodes",
            "limit": len(able),
            "hint": Message("{hint} Left out: {names}.", hint=hint, names=left_out[:500]) if left_out else hint,
        }
    ]
