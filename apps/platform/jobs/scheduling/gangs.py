"""Choose the nodes of a job that runs over several: all that it needs at once, or none. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling.placement import explain_why_not
from apps.platform.nodes.models import Node


def choose_nodes(
    job: Job,
    first: Node,
    nodes: Iterable[Node],
    running: Mapping[int | None, list[Job]],
    reserved_by_node: Mapping[int | None, Job],
    left_out: Mapping[tuple[int, int], str],
) -> list[Node] | None:
    """The nodes on which `job` could start this moment, `first` at their head; None if there are too few.

    `nodes` have a status. What is kept free for the job comes before what is not.
    """
    fitting = [
        node
        for node in nodes
        if (job.pk, node.pk) not in left_out and has_room(job, node, running[node.pk], reserved_by_node.get(node.pk))
    ]
    if first.pk not in {node.pk for node in fitting}:
        return None
    others = sorted(
        (node for node in fitting if node.pk != first.pk),
        key=lambda node: (not is_kept_for(job, reserved_by_node.get(node.pk)), len(running[node.pk]), node.pk),
    )
    chosen = [first, *others[: job.need_nodes - 1]]
    return chosen if len(chosen) == job.need_nodes else None


def has_room(job: Job, node: Node, running: Sequence[Job], reserved_for: Job | None) -> bool:
    online = bool(getattr(node, "online", False))
    return not explain_why_not(job, node, running, online=online, reserved_for=reserved_for)


def is_kept_for(job: Job, reserved_for: Job | None) -> bool:
    return reserved_for is not None and reserved_for.pk == job.pk
