"""Which part of a job over several nodes this process's node has, as whoever starts the engine says in its environment.

Torchrun reads the same variables for the flags that it is not given, so a program that starts
``python -m torch.distributed.run`` by itself takes its part as well. Light to import.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

NODES, NODE_RANK, ADDRESS, PORT = "PET_NNODES", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")


@dataclass(frozen=True)
class Placement:
    """`address` and `port` of the rendezvous store, which the first node's torchrun hosts; empty on a single node."""

    nodes: int = 1
    node_rank: int = 0
    address: str = ""
    port: int = 0
    interface: str = ""  # of the network to the other nodes

    def as_environment(self) -> dict[str, str]:
        """The variables of the first process on the node; none on a single node."""
        if self.nodes == 1:
            return {}
        interfaces = {name: self.interface for name in INTERFACES if self.interface}
        return {
            NODES: str(self.nodes),
            NODE_RANK: str(self.node_rank),
            ADDRESS: self.address,
            PORT: str(self.port),
            "PET_RDZV_BACKEND": "static",
            "PET_MAX_RESTARTS": "0",
            **interfaces,
        }


def read_placement(environment: Mapping[str, str] = os.environ) -> Placement:
    """The part that the environment gives this process; that of a single node if it says nothing."""
    nodes = int(environment.get(NODES) or 1)
    if nodes == 1:
        return Placement()
    return Placement(
        nodes=nodes,
        node_rank=int(environment[NODE_RANK]),
        address=environment[ADDRESS],
        port=int(environment[PORT]),
        interface=environment.get(INTERFACES[0], ""),
    )
