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
from apps.platform.nodes.presenters import STATES, Row, row_now


def of_node(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row.node, name)


def column(key: str, label: Any, value: Callable[[Row], Any], **more: Any) -> Column:
    """A column that the list can be ordered by."""
    return Column(key, label, value, (key,), **more)


NODES = Listing(
    "nodes",
    (
        column("name", gettext_lazy("Node"), of_node("name")),
        column("host", gettext_lazy("Host"), of_node("host"), default_visible=False),
        column("state", gettext_lazy("State"), lambda row: Rank(row.state)),
        column("cpus_free", gettext_lazy("CPUs"), lambda row: row.cpus.free, down=True),
        column("memory_free", gettext_lazy("Memory"), lambda row: row.memory.free, down=True),
        column("gpus_free", gettext_lazy("GPUs"), lambda row: row.gpus.free, down=True),
        column("gpu_memory_free", gettext_lazy("GPU memory in use"), lambda row: row.gpu_memory.free, down=True),
        column("disk_free", gettext_lazy("Disk free"), lambda row: row.disk_free, numeric=True, down=True),
        column("jobs", gettext_lazy("Runs"), of_node("running_jobs"), numeric=True, down=True),
        Column("queues", gettext_lazy("Queues"), of_node("queues")),
        Column("software", gettext_lazy("Software"), lambda row: row.software),
        column(
            "cpus",
            gettext_lazy("CPUs in all"),
            lambda row: row.cpus.whole,
            numeric=True,
            down=True,
            default_visible=False,
        ),
        column(
            "memory",
            gettext_lazy("Memory in all"),
            lambda row: row.memory.whole,
            numeric=True,
            down=True,
            default_visible=False,
        ),
        column("heard", gettext_lazy("Heard of"), of_node("heartbeat_at"), down=True),
    ),
    sort="name",
)


class Rank(str):
    """A state that is ordered by how near it is to taking jobs."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return STATES.index(str(self)) < STATES.index(str(other))


def nodes_table(every: list[Any], params: QueryDict) -> ListTable:
    """Those of the nodes that fit the filters."""
    asked = read_filter_values(params, ("q", "status", "queue"))
    return build_table_in_memory(
        NODES,
        params,
        lambda: narrowed(every, asked),
        key=of_node("name"),
        filters=filter_bar(asked, every),
        builtin=[
            build_builtin_view(_("Online, most CPUs free"), status="online", sort="-cpus_free"),
            build_builtin_view(_("Online, most GPUs free"), status="online", sort="-gpus_free"),
            build_builtin_view(_("Offline"), status="offline", sort="-heard"),
        ],
    )


def narrowed(nodes: list[Any], asked: dict[str, str]) -> list[Row]:
    """The nodes that fit the filters; Invalid for a status that there is not."""
    queries.check_status(asked["status"])
    part = asked["q"].casefold()
    return [
        row_now(node)
        for node in nodes
        if part in node.name.casefold() or part in node.host.casefold()
        if not asked["status"] or node.status == asked["status"]
        if not asked["queue"] or asked["queue"] in node.queues
    ]


def filter_bar(asked: dict[str, str], nodes: list[Any]) -> list[dict[str, Any]]:
    states = [("", _("Every state")), ("online", _("Online")), ("held", _("Held")), ("offline", _("Offline"))]
    queues = sorted({queue for node in nodes for queue in node.queues})
    return [
        {"name": "q", "label": _("Name or host"), "value": asked["q"]},
        {"name": "status", "label": _("State"), "value": asked["status"], "choices": states},
        {
            "name": "queue",
            "label": _("Queue"),
            "value": asked["queue"],
            "choices": [("", _("Every queue")), *((queue, queue) for queue in queues)],
        },
    ]
