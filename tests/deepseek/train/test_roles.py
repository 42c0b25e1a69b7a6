"""Ranks of a training with parameter servers: torchrun's numbers become those of the roles."""

from itertools import count

import pytest

from deepseek.train.roles import count_ranks, take_role
from deepseek.train.spec import TrainSpec


@pytest.mark.parametrize(("nodes", "processes", "servers"), [(1, 2, 1), (2, 1, 1), (2, 2, 3), (3, 1, 2)])
def test_workers_come_first(nodes, processes, servers):
    spec = TrainSpec(task="forecast", target="x", strategy="ps", processes=processes, servers=servers)
    starts = [(node, local) for node in range(nodes) for local in range(count_ranks(spec, nodes, node))]
    roles = {}
    for rank, (node, local) in zip(count(), starts, strict=False):
        environment = {"GROUP_RANK": f"{node}", "LOCAL_RANK": f"{local}", "RANK": f"{rank}"}
        environment["WORLD_SIZE"] = str(len(starts))
        take_role(spec, environment)
        roles[int(environment["RANK"])] = local < processes
    assert sorted(roles) == list(range(nodes * processes + servers))
    assert [roles[rank] for rank in sorted(roles)] == [True] * nodes * processes + [False] * servers


def test_of_ddp_there_are_no_servers():
    spec = TrainSpec(task="forecast", target="x", strategy="ddp", processes=3)
    assert count_ranks(spec, 2, 1) == 3
