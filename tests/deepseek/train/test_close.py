"""A training that ends leaves nothing that owns the process group."""

import weakref

import pytest
import torch
import torch.distributed as dist

from deepseek.job import Silent
from deepseek.train.device import Place
from deepseek.train.loop import Training
from deepseek.train.replicas import Replicas
from deepseek.train.run import _prepare
from deepseek.train.spec import TrainSpec
from tests.deepseek.train.conftest import QUICK


@pytest.fixture
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_frees_the_reducer_while_the_group_is_there(flowers, group):
    spec = TrainSpec(task="classification", target="kind", **QUICK, strategy="ddp", processes=2)
    learner = _prepare(spec, {"table": flowers}, Silent()).learner
    training = Training(spec, learner, Place(torch.device("cpu"), None), Silent(), Replicas(rank=0, world=2))
    training._step(training.parts.training[:4])
    reducer = weakref.ref(training.shared.reducer)
    training.close()
    assert reducer() is None
