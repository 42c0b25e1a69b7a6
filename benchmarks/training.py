"""Data-parallel training by two processes of one thread each, as a share of two processes that never talk.

Run: python benchmarks/training.py [ROW ...] [--seconds S] [--rounds N]      (default: every row, each with its own)

| row | strategy | model | batch |
|---|---|---|---|
| ps-async-mlp-512 | parameter server, async, one server | MLP of 6 x 1024 | 512 |
| ps-sync-mlp-512 | parameter server, sync, one server | the same | 512 |
| ddp-mlp-512 | DistributedDataParallel over gloo | the same | 512 |
| ddp-resnet18-64 | the same | ResNet-18, 64 x 64 pixels | 64 |
| ddp-resnet18-16 | the same, --compress bf16 | the same | 16 |

The row and its control alternate within each round. Both processes start to count at the same moment, after two steps
that are not counted; a rate is the rows of both over the time of the slower one. The ratio is the median over rounds of
the row's rate over the control's: above 0.9 of the machine is left to the training. The parameter server's own process
shares the cores with the workers, as it would on a machine with nothing to spare. A row whose steps take long is
measured for longer and more often: over a handful of steps a ratio is chance.
"""

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor, nn

WORKERS, WARM_UP, LR = 2, 2, 1e-3
CONTEXT = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Row:
    """One comparison: how (`ps` or `ddp`), with what model and batch, and the ratio that is aimed at."""

    strategy: str
    model: str
    batch: int
    aim: float
    mode: str = "async"
    compress: str = "none"
    seconds: float = 5  # of each measurement
    rounds: int = 3


ROWS = {
    "ps-async-mlp-512": Row("ps", "mlp", 512, 0.85),
    "ps-sync-mlp-512": Row("ps", "mlp", 512, 0.80, mode="sync"),
    "ddp-mlp-512": Row("ddp", "mlp", 512, 0.93, rounds=5),
    "ddp-resnet18-64": Row("ddp", "resnet18", 64, 0.96, seconds=25, rounds=5),
    "ddp-resnet18-16": Row("ddp", "resnet18", 16, 0.75, compress="bf16", seconds=10),
}


class Block(nn.Module):
    """A residual block of ResNet-18 (He et al. 2016, table 1)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def build_resnet18() -> nn.Module:
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
    widths += [(256, 512, 2), (512, 512, 1)]
    blocks = [Block(*width) for width in widths]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def build_mlp() -> nn.Module:
    return nn.Sequential(*(layer for _ in range(6) for layer in (nn.Linear(1024, 1024), nn.ReLU())))


MODELS: dict[str, Callable[[], nn.Module]] = {"mlp": build_mlp, "resnet18": build_resnet18}


def build_batch(row: Row) -> tuple[Tensor, Tensor]:
    if row.model == "mlp":
        return torch.randn(row.batch, 1024), torch.randint(0, 1024, (row.batch,))
    return torch.randn(row.batch, 3, 64, 64), torch.randint(0, 10, (row.batch,))


class Meter:
    """Two ranks that begin to count together, through files in a folder; each writes its steps and seconds."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds

    def count_steps(self, rank: int) -> Iterator[int]:
        """Yield once per step: the warm-up, then as many as fit into the time."""
        for _ in range(WARM_UP):
            yield 0
        self.wait(rank)
        began = time.perf_counter()
        steps = 0
        while (passed := time.perf_counter() - began) < self.seconds:
            yield steps
            steps += 1
        self.write(rank, steps, passed)

    def wait(self, rank: int) -> None:
        (self.folder / f"ready-{rank}").touch()
        while any(not (self.folder / f"ready-{other}").exists() for other in range(WORKERS)):
            time.sleep(0.001)

    def write(self, rank: int, steps: int, seconds: float) -> None:
        (self.folder / f"rank-{rank}.json").write_text(json.dumps([steps, seconds]))

    def get_rate(self, batch: int) -> float:
        """Rows per second of all ranks."""
        ranks = [json.loads((self.folder / f"rank-{rank}.json").read_text()) for rank in range(WORKERS)]
        return sum(steps for steps, _ in ranks) * batch / max(seconds for _, seconds in ranks)


def run_alone(row: Row, rank: int, meter: Meter) -> None:
    """The control: one process that trains on its own."""
    torch.set_num_threads(1)
    network, (inputs, targets) = MODELS[row.model](), build_batch(row)
    optimizer = torch.optim.SGD(network.parameters(), LR)
    for _ in meter.count_steps(rank):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()


def average_in_bf16(state, bucket):  # torch refuses other annotations than its own
    """A communication hook that halves what is sent; torch's own hook for it takes no gloo."""
    import torch.distributed as dist

    half = bucket.buffer().to(torch.bfloat16).div_(WORKERS)
    future = dist.all_reduce(half, async_op=True).get_future()
    return future.then(lambda done: bucket.buffer().copy_(done.value()[0]))


def run_ddp(row: Row, rank: int, meter: Meter, port: int, given: argparse.Namespace) -> None:
    """One rank of DistributedDataParallel: a number of steps that all ranks agree on."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    dist.init_process_group("gloo", rank=rank, world_size=WORKERS)
    network = nn.parallel.DistributedDataParallel(
        MODELS[row.model](),
        gradient_as_bucket_view=True,
        static_graph=given.static_graph,
        bucket_cap_mb=given.bucket_mb,
        broadcast_buffers=False,
    )
    if row.compress == "bf16":
        network.register_comm_hook(None, average_in_bf16)
    inputs, targets = build_batch(row)
    optimizer = torch.optim.SGD(network.parameters(), LR)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()

    for _ in range(WARM_UP):
        step()
    steps = max(3, int(meter.seconds / measure_step(step)))
    dist.barrier()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    meter.write(rank, steps, time.perf_counter() - began)
    dist.destroy_process_group()


def measure_step(step: Callable[[], None]) -> float:
    """Seconds of a step on the slowest rank: the median of three, as one may be held up."""
    import torch.distributed as dist

    times = torch.zeros(3)
    for number in range(len(times)):
        began = time.perf_counter()
        step()
        times[number] = time.perf_counter() - began
    dist.all_reduce(times, op=dist.ReduceOp.MAX)
    return float(times.median())


def measure_processes(target: Callable[..., None], row: Row, meter: Meter, *arguments: Any) -> float:
    processes = [CONTEXT.Process(target=target, args=(row, rank, meter, *arguments)) for rank in range(WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            sys.exit(f"a process ended with exit code {process.exitcode}")
    return meter.get_rate(row.batch)


def measure_parameter_server(row: Row, meter: Meter) -> float:
    from deepseek.distributed import ParameterServer

    def build_batches(rank: int, world: int) -> Iterator[tuple[Tensor, Tensor]]:
        batch = build_batch(row)
        for _ in meter.count_steps(rank):
            yield batch

    ps = ParameterServer(worker_num=WORKERS, server_num=1)
    ps.fit(MODELS[row.model], build_batches, loss="cross_entropy", lr=LR, mode=row.mode, checkpoint_every=100)
    return meter.get_rate(row.batch)


def measure(row: Row, given: argparse.Namespace) -> float:
    """Rows per second by the row's strategy."""
    with tempfile.TemporaryDirectory() as name:
        meter = Meter(Path(name), row.seconds)
        if row.strategy == "ps":
            return measure_parameter_server(row, meter)
        if row.strategy == "alone":
            return measure_processes(run_alone, row, meter)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        return measure_processes(run_ddp, row, meter, port, given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seconds", type=float, help="of each measurement, in place of the row's own")
    parser.add_argument("--rounds", type=int, help="in place of the row's own")
    parser.add_argument("--compress", choices=("none", "bf16"), help="of DDP's gradients, in place of the row's own")
    parser.add_argument("--bucket-mb", type=float, default=10, help="of DDP's buckets (default 10)")
    parser.add_argument("--static-graph", action="store_true", help="tell DDP that every step has the same graph")
    given = parser.parse_args()
    unknown = [name for name in given.rows if name not in ROWS]
    if unknown:
        parser.error(f"there is no row {unknown[0]!r}; choose from {', '.join(ROWS)}")
    import torch._dynamo  # noqa: F401  which torch.optim and DDP import: once, before any process is forked

    print("| row | compress | never talk, rows/s | rows/s | ratio | lowest, highest | aim |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in given.rows or ROWS:
        row = ROWS[name]
        row = replace(row, seconds=given.seconds or row.seconds, rounds=given.rounds or row.rounds)
        if given.compress and row.strategy == "ddp":
            row = replace(row, compress=given.compress)
        print(measure_row(name, row, given), flush=True)


def measure_row(name: str, row: Row, given: argparse.Namespace) -> str:
    alone = replace(row, strategy="alone")
    rates: list[tuple[float, float]] = []
    for number in range(row.rounds):
        pair = {each: measure(each, given) for each in ((alone, row) if number % 2 == 0 else (row, alone))}
        rates.append((pair[alone], pair[row]))
    ratios = [rate / control for control, rate in rates]
    control, rate = (statistics.median(values) for values in zip(*rates, strict=True))
    cells = [name, row.compress, f"{control:,.0f}", f"{rate:,.0f}", f"{statistics.median(ratios):.2f}"]
    return "| " + " | ".join([*cells, f"{min(ratios):.2f}, {max(ratios):.2f}", f"{row.aim:.2f}"]) + " |"


if __name__ == "__main__":
    main()
