"""Arguments that cannot be used are refused by name, with the limit and a remedy, before anything starts."""

import pytest
import torch
from torch import nn

from deepseek.distributed import ArgumentError, ParameterServer
from deepseek.distributed.gang import read_gang
from tests.deepseek.distributed.conftest import build_batches, build_model

CONSTRUCTOR = [
    ({"worker_num": 0}, r"worker_num is 0, but must be an integer from 1 to 1,024\. Give"),
    ({"worker_num": 2.5}, "worker_num is 2.5, but"),
    ({"worker_num": True}, "worker_num is True, but"),
    ({"server_num": 300}, "server_num is 300, but must be an integer from 1 to 256"),
    ({"rpc_timeout": float("nan")}, "rpc_timeout is nan, but must be a number from 0.1 to 86400"),
    ({"rpc_timeout": "300"}, "rpc_timeout is '300'"),
    ({"heartbeat_interval": 0}, "heartbeat_interval is 0, but"),
    ({"heartbeat_interval": 20, "rpc_timeout": 10}, "at most rpc_timeout, which is 10 seconds"),
    ({"shared_memory": 1}, "shared_memory is 1, but must be True or False"),
    ({"tls": "yes"}, "tls is 'yes', but must be True or False"),
]
FIT = [
    ({"optimizer": "lamb"}, "optimizer is 'lamb', but must be one of 'sgd', 'adam', 'adamw'"),
    ({"mode": "fast"}, "mode is 'fast', but must be one of 'sync', 'async', 'bounded'"),
    ({"lr": 0}, "lr is 0, but must be a number above 0"),
    ({"lr": float("inf")}, "lr is inf"),
    ({"epochs": 0}, "epochs is 0"),
    ({"staleness": -1}, "staleness is -1, but must be an integer from 0"),
    ({"loss": "hinge"}, "loss is 'hinge', but must be one of 'cross_entropy', 'mse'"),
    ({"loss": 3}, "loss is 3, but must be a function"),
    ({"momentum": 0.9, "optimizer": "adam"}, "momentum is 0.9, but must be 0 with optimizer='adam'"),
    ({"momentum": 1.0}, "momentum is 1.0"),
    ({"weight_decay": -1}, "weight_decay is -1"),
    ({"seed": -1}, "seed is -1"),
    ({"checkpoint_every": 0}, "checkpoint_every is 0"),
    ({"max_restarts": -1}, "max_restarts is -1"),
    ({"threads": 0}, "threads is 0"),
    ({"threads": 2, "start_method": "fork"}, "threads is 2, but must be 1 with start_method='fork'"),
    ({"start_method": "thread"}, "start_method is 'thread', but must be one of 'fork', 'spawn'"),
    ({"start_method": "spawn", "build_batches": lambda rank, world: []}, "Define it at the top level of a module"),
    ({"on_epoch": 1}, "on_epoch is 1, but must be a function"),
    ({"build_model": 1}, "build_model is 1, but must be a function"),
    ({"build_batches": None}, "build_batches is None, but must be a function"),
    ({"build_model": dict}, "a function that returns dict"),
    ({"build_model": lambda: nn.Linear(2, 2).double()}, r"parameter weight is torch.float64 .* Call .float\(\)"),
    ({"build_model": lambda: nn.Linear(1, 1, bias=False)}, "server_num is 2, but must be at most the number of"),
]


@pytest.mark.parametrize(("arguments", "message"), CONSTRUCTOR)
def test_constructor_refuses(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        ParameterServer(**arguments)


@pytest.mark.parametrize(("arguments", "message"), FIT)
def test_fit_refuses(arguments, message):
    given = {"build_model": build_model, "build_batches": build_batches, "loss": "mse", **arguments}
    with pytest.raises(ValueError, match=message):
        ParameterServer(worker_num=1).fit(given.pop("build_model"), given.pop("build_batches"), **given)


def test_gang_is_read_from_all_four_variables():
    whole = {"RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    assert (read_gang(whole).rank, read_gang({"MASTER_ADDR": "127.0.0.1"}), read_gang({})) == (1, None, None)
    with pytest.raises(ArgumentError, match="MASTER_ADDR is '', but must be set where RANK is"):
        read_gang({"RANK": "1", "WORLD_SIZE": "3", "MASTER_PORT": "29500"})
    with pytest.raises(ArgumentError, match="RANK is '-1', but must be a whole number"):
        read_gang(whole | {"RANK": "-1"})
    with pytest.raises(ArgumentError, match="at least 32 characters") as refused:
        read_gang(whole | {"PARAMETER_SERVER_TOKEN": "short-secret"})
    assert "short-secret" not in str(refused.value)


def test_gang_of_wrong_size_is_refused(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ArgumentError, match=r"WORLD_SIZE is 2, but must be worker_num \+ server_num, which is 6"):
        ParameterServer().fit(build_model, build_batches, loss="mse")


def test_seed_leaves_the_callers_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    ParameterServer(worker_num=1, server_num=1).fit(build_model, build_batches, loss="mse", lr=0.01, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
