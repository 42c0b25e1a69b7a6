"""The list of nodes: its columns, and what narrows it. Status and use are computed, so it is ordered in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.lists.listing import Column, Listing, ListTable, build_builtin_view, read_filter_values
from apps.core.lists.memory_lists import build_table_in_memory
from apps.platform.nodes import queries
from apps.platform.nodes.presenters import STATES, NodeRow, build_current_row


def build_node_getter(name: str) -> Callable[[NodeRow], Any]:
    return lambda row: getattr(row.node, name)


def build_column(key: str, label: Any, value: Callable[[NodeRow], Any], **more: Any) -> Column:
    """A column that the list can be ordered by."""
    return Column(key, label, value, (key,), **more)


NODES = Listing(
    "nodes",
    (
        build_column("name", gettext_lazy("Node"), build_node_getter("name")),
        build_column("host", gettext_lazy("Host"), build_node_getter("host"), default_visible=False),
        build_column("state", gettext_lazy("State"), lambda row: Rank(row.state)),
        build_column("cpus_free", gettext_lazy("CPUs"), lambda row: row.cpus.free, down=True),
        build_column("memory_free", gettext_lazy("Memory"), lambda row: row.memory.free, down=True),
        build_column("gpus_free", gettext_lazy("GPUs"), lambda row: row.gpus.free, down=True),
        build_column("gpu_memory_free", gettext_lazy("GPU memory in use"), lambda row: row.gpu_memory.free, down=True),
        build_column("disk_free", gettext_lazy("Disk free"), lambda row: row.disk_free, numeric=True, down=True),
        build_column("jobs", gettext_lazy("Runs"), build_node_getter("running_jobs"), numeric=True, down=True),
        Column("queues", gettext_lazy("Queues"), build_node_getter("queues")),
        Column("software", gettext_lazy("Software"), lambda row: row.software),
        build_column(
            "cpus",
            gettext_lazy("CPUs in all"),
            lambda row: row.cpus.total,
            numeric=True,
            down=True,
            default_visible=False,
        ),
        build_column(
            "memory",
            gettext_lazy("Memory in all"),
            lambda row: row.memory.total,
            numeric=True,
            down=True,
            default_visible=False,
        ),
        build_column("heard", gettext_lazy("Last heartbeat"), build_node_getter("heartbeat_at"), down=True),
    ),
    sort="name",
)


class Rank(str):
    """A state that is ordered by how near it is to taking jobs."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return STATES.index(str(self)) < STATES.index(str(other))


def build_nodes_table(every: list[Any], params: QueryDict) -> ListTable:
    """Those of the nodes that fit the filters."""
    filters = read_filter_values(params, ("q", "status", "queue"))
    return build_table_in_memory(
        NODES,
        params,
        lambda: filter_nodes(every, filters),
        key=build_node_getter("name"),
        filters=build_filter_bar(filters, every),
        builtin=[
            build_builtin_view(_("Online, most CPUs free"), status="online", sort="-cpus_free"),
            build_builtin_view(_("Online, most GPUs free"), status="online", sort="-gpus_free"),
            build_builtin_view(_("Offline"), status="offline", sort="-heard"),
        ],
    )


def filter_nodes(nodes: list[Any], filters: dict[str, str]) -> list[NodeRow]:
    """The nodes that fit the filters; Invalid for a status that there is not."""
    queries.validate_status(filters["status"])
    part = filters["q"].casefold()
    return [
        build_current_row(node)
        for node in nodes
        if part in node.name.casefold() or part in node.host.casefold()
        if not filters["status"] or node.status == filters["status"]
        if not filters["queue"] or filters["queue"] in node.queues
    ]


def build_filter_bar(filters: dict[str, str], nodes: list[Any]) -> list[dict[str, Any]]:
    states = [("", _("Every state")), ("online", _("Online")), ("held", _("Held")), ("offline", _("Offline"))]
    queues = sorted({queue for node in nodes for queue in node.queues})
    return [
        {"name": "q", "label": _("Name or host"), "value": filters["q"]},
        {"name": "status", "label": _("State"), "value": filters["status"], "choices": states},
        {
            "name": "queue",
            "label": _("Queue"),
            "value": filters["queue"],
            "choices": [("", _("Every queue")), *((queue, queue) for queue in queues)],
        },
    ]
