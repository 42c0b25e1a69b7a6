"""Which ranks of a training with parameter servers compute gradients, and which are servers.

Torchrun counts the ranks node by node, and on each node the workers come before its servers; the parameter server
counts all workers before all servers.
"""

import os
from collections.abc import MutableMapping

from deepseek.torchrun.rank import LOCAL_RANK, RANK
from deepseek.train.loop_spec import LoopSpec

NODE, WORLD = "GROUP_RANK", "WORLD_SIZE"


def count_servers(servers: int, nodes: int, node: int) -> int:
    """Servers of `servers` that run on the node with this number."""
    return servers // nodes + (node < servers % nodes)


def count_ranks(spec: LoopSpec, nodes: int, node: int) -> int:
    """Processes that torchrun starts on a node."""
    return spec.processes + (count_servers(spec.servers, nodes, node) if spec.strategy == "ps" else 0)


def take_role(spec: LoopSpec, environment: MutableMapping[str, str] = os.environ) -> None:
    """Replace the rank that torchrun gave this process by that of its role; the first rank stays the first."""
    node, local = int(environment[NODE]), int(environment[LOCAL_RANK])
    nodes = (int(environment[WORLD]) - spec.servers) // spec.processes
    number = node * spec.processes + local
    if local >= spec.processes:
        before = sum(count_servers(spec.servers, nodes, earlier) for earlier in range(node))
        number = nodes * spec.processes + before + local - spec.processes
    environment[RANK] = str(number)
