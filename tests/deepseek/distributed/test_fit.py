"""A fit with local processes: the three modes, what they return, and that sync equals DistributedDataParallel."""

import multiprocessing

import pytest
import torch
import torch.distributed as dist
from torch import nn

from deepseek.distributed import FitError, ParameterServer
from tests.deepseek.distributed.conftest import STEPS, WIDTH, build_batches, build_model

EPOCHS, LR = 3, 0.05


def train_with_ddp(rank, world, file, pipe):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    torch.manual_seed(0)
    network = nn.parallel.DistributedDataParallel(build_model())
    losses = []
    for _ in range(EPOCHS):
        values = []
        for inputs, targets in build_batches(rank, world):
            network.zero_grad()
            loss = nn.functional.mse_loss(network(inputs), targets)
            loss.backward()
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter -= LR * parameter.grad
            values.append(loss.item())
        mean = torch.tensor(sum(values) / len(values))
        dist.all_reduce(mean)
        losses.append(mean.item() / world)
    if rank == 0:
        pipe.send_bytes(repr((losses, [p.tolist() for p in network.module.parameters()])).encode())
    dist.destroy_process_group()


def run_ddp(world, folder):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    ranks = [context.Process(target=train_with_ddp, args=(r, world, folder / "ddp", theirs)) for r in range(world)]
    for rank in ranks:
        rank.start()
    try:
        assert ours.poll(240)
        losses, parameters = eval(ours.recv_bytes())
    finally:
        for rank in ranks:
            rank.join(120)
            rank.kill()
            rank.join()
    return losses, [torch.tensor(values) for values in parameters]


def test_constructor_of_the_text():
    ps = ParameterServer(worker_num=4, server_num=2, rpc_timeout=300, heartbeat_interval=10)
    assert (ps.options.worker_num, ps.options.server_num) == (4, 2)
    assert (ps.options.rpc_timeout, ps.options.heartbeat_interval) == (300, 10)


def test_sync_equals_ddp(tmp_path):
    module, report = ParameterServer(worker_num=2, server_num=2).fit(
        build_model, build_batches, loss="mse", lr=LR, epochs=EPOCHS, mode="sync", seed=0
    )
    import torch._dynamo

    losses, parameters = run_ddp(2, tmp_path)
    assert report.losses == pytest.approx(losses, abs=1e-5)
    for ours, theirs in zip(module.parameters(), parameters, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5, rtol=0)
    assert (report.steps, report.events) == (EPOCHS * STEPS, [])


@pytest.mark.parametrize(
    ("mode", "optimizer", "tls"), [("sync", "sgd", True), ("async", "adam", False), ("bounded", "adamw", False)]
)
def test_loss_falls_in_every_mode(mode, optimizer, tls):
    ps = ParameterServer(worker_num=3, server_num=2, tls=tls)
    lr = 0.1 if optimizer == "sgd" else 0.01
    module, report = ps.fit(
        build_model, build_batches, loss=nn.MSELoss(), optimizer=optimizer, lr=lr, epochs=4, mode=mode, staleness=2
    )
    inputs = torch.eye(WIDTH)
    targets = (torch.arange(WIDTH) / WIDTH)[:, None]
    assert nn.functional.mse_loss(module(inputs), targets) < 0.1
    assert report.losses[-1] < report.losses[0] / 2
    assert len(report.losses) == 4
    assert report.steps == (4 * STEPS if mode == "sync" else 3 * 4 * STEPS)
    assert report.max_lead <= 2 or mode == "async"
    assert report.tls is tls


@pytest.mark.parametrize("mode", ["sync", "bounded"])
def test_worker_with_fewer_batches_finishes_sooner(mode):
    def build_fewer_batches(rank, world):
        return [*build_batches(rank, world)][: STEPS - 7 * rank]  # a list, which is iterated again for each epoch

    ps = ParameterServer(worker_num=2, server_num=1)
    report = ps.fit(build_model, build_fewer_batches, loss="mse", lr=0.01, epochs=2, mode=mode, staleness=1)[1]
    assert report.steps == (2 * STEPS if mode == "sync" else 4 * STEPS - 14)
    assert report.events == []


def test_epochs_are_reported_in_order():
    calls = []
    ps = ParameterServer(worker_num=2, server_num=1)
    report = ps.fit(
        build_model, build_batches, loss="mse", lr=0.01, epochs=3, on_epoch=lambda *values: calls.append(values)
    )[1]
    assert [epoch for epoch, _ in calls] == [0, 1, 2]
    assert [loss for _, loss in calls] == pytest.approx(report.losses, rel=0.5)


def test_caller_ends_the_fit():
    ps = ParameterServer(worker_num=2, server_num=2)
    report = ps.fit(build_model, build_batches, loss="mse", epochs=10_000, lr=0.01, on_epoch=lambda epoch, _: True)[1]
    assert report.steps <= len(report.losses) * STEPS < 10_000 * STEPS
    assert report.events == []


def test_learning_rate_by_step():
    ps = ParameterServer(worker_num=2, server_num=2)
    rates = [LR, lambda step: LR, lambda step: LR * (step < STEPS // 2)]
    fits = [ps.fit(build_model, build_batches, loss="mse", lr=rate, seed=7)[0][0].weight for rate in rates]
    assert torch.equal(fits[0], fits[1])
    assert not torch.equal(fits[0], fits[2])


def test_equal_seeds_give_equal_sync_fits():
    ps = ParameterServer(worker_num=3, server_num=1)
    fits = [ps.fit(build_model, build_batches, loss="mse", momentum=0.9, lr=0.01, seed=7)[0] for _ in range(2)]
    for one, other in zip(fits[0].parameters(), fits[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_bounded_worker_waits_for_the_slowest(tmp_path):
    def build_uneven_batches(rank, world):
        for batch in build_batches(rank, world):
            if rank == 1:
                torch.randn(1)  # the slow one
                __import__("time").sleep(0.02)
            yield batch

    ps = ParameterServer(worker_num=2, server_num=2)
    report = ps.fit(build_model, build_uneven_batches, loss="mse", lr=0.01, mode="bounded", staleness=1)[1]
    assert report.max_lead == 1
    report = ps.fit(build_model, build_uneven_batches, loss="mse", lr=0.01, mode="async")[1]
    assert report.max_lead > 1


def test_buffers_and_frozen_parameters():
    def build_with_norm():
        network = nn.Sequential(nn.Linear(WIDTH, 16), nn.BatchNorm1d(16), nn.Linear(16, 1))
        network[0].requires_grad_(False)
        return network

    torch.manual_seed(3)
    expected = build_with_norm()[0].weight.clone()
    ps = ParameterServer(worker_num=2, server_num=1)
    module, _ = ps.fit(build_with_norm, build_batches, loss="mse", lr=0.01, epochs=2, seed=3)
    assert torch.equal(module[0].weight, expected)
    assert module[1].num_batches_tracked == 2 * STEPS
    assert module[1].running_mean.abs().sum() > 0


@pytest.mark.e2e  # two fresh processes import torch
def test_spawn_takes_functions_of_a_module():
    ps = ParameterServer(worker_num=1, server_num=1)
    report = ps.fit(build_model, build_batches, loss="mse", lr=0.01, start_method="spawn")[1]
    assert report.steps == STEPS


@pytest.mark.parametrize(
    ("build", "batches", "lr", "message"),
    [
        (build_model, lambda rank, world: [], 0.1, "yields no batch"),
        (build_model, lambda rank, world: [1], 0.1, "yield pairs"),
        (build_model, lambda rank, world: 1 / 0, 0.1, "ZeroDivisionError"),
        (build_model, lambda rank, world: [*build_batches(rank, world)] * 20, 900.0, "Lower lr"),
    ],
)
def test_failing_function_ends_the_fit(build, batches, lr, message):
    ps = ParameterServer(worker_num=2, server_num=1)
    with pytest.raises(FitError, match=message):
        ps.fit(build, batches, loss="mse", lr=lr)
