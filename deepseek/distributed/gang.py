"""A fit of the ranks that torchrun or a launcher like it has started, which find each other by torch's TCPStore.

Ranks below worker_num are workers, those above are servers. The store's keys of one fit are under a prefix of its own:
the token, the host of each rank, the servers' addresses and certificates. Whoever reaches the store's port can read
them, as is the nature of that store; PARAMETER_SERVER_TOKEN in the environment of every rank keeps the token out of it.
"""

import itertools
import json
import os
import platform
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor

from deepseek.distributed.certificates import build_certificate
from deepseek.distributed.directory import StoreDirectory
from deepseek.distributed.errors import ArgumentError, FitError
from deepseek.distributed.flight_client import ShardClient
from deepseek.distributed.flight_server import ShardServer, build_token
from deepseek.distributed.layout import ParameterLayout, load_tensors, view_array
from deepseek.distributed.local import build_report
from deepseek.distributed.options import FitOptions, ServerOptions
from deepseek.distributed.report import EpochNotifier, FitReport, OnEpoch, compute_mean_losses
from deepseek.distributed.worker import Task, Worker, build_layout

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TOKEN_VARIABLE = "PARAMETER_SERVER_TOKEN"  # noqa: S105  a name
MIN_TOKEN_CHARACTERS = 32
_TICK_SECONDS = 0.2
_POLL_SECONDS = 0.2
_LEAVE_SECONDS = 10.0
_numbers = itertools.count()


@dataclass(frozen=True)
class GangPlace:
    """This process's place in a gang, from the environment."""

    rank: int
    world: int
    host: str
    port: int
    attempt: str
    store_is_hosted: bool
    token: str


def read_gang(environment: Mapping[str, str]) -> GangPlace | None:
    """The place in a gang that the environment names; None without one. Raises ArgumentError if it is incomplete."""
    variables = [name for name in VARIABLES if environment.get(name)]
    if not {"RANK", "WORLD_SIZE"} & set(variables):
        return None
    missing = [name for name in VARIABLES if name not in variables]
    if missing:
        raise ArgumentError(
            missing[0],
            environment.get(missing[0], ""),
            f"set where {variables[0]} is",
            "Start the ranks with torchrun.",
        )
    numbers = {name: _parse_number(name, environment[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT")}
    token = environment.get(TOKEN_VARIABLE, "")
    if token and len(token) < MIN_TOKEN_CHARACTERS:
        raise ArgumentError(
            TOKEN_VARIABLE,
            "...",
            f"at least {MIN_TOKEN_CHARACTERS} characters long",
            "Make it with a random generator.",
        )
    return GangPlace(
        numbers["RANK"],
        numbers["WORLD_SIZE"],
        environment["MASTER_ADDR"],
        numbers["MASTER_PORT"],
        environment.get("TORCHELASTIC_RESTART_COUNT", "0"),
        environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        token,
    )


def _parse_number(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise ArgumentError(name, text, "a whole number", "Start the ranks with torchrun.")
    return int(text)


def run_gang(
    gang: GangPlace,
    task: Task,
    server: ServerOptions,
    options: FitOptions,
    *,
    checkpoint_dir: Path | None,
    on_epoch: OnEpoch | None,
    optimizer: "OptimizerState | None" = None,
) -> tuple[torch.nn.Module, FitReport]:
    """Take this rank's part in a fit; returns when the fit has ended."""
    if gang.world != server.worker_num + server.server_num or gang.rank >= gang.world:
        raise ArgumentError(
            "WORLD_SIZE",
            gang.world,
            f"worker_num + server_num, which is {server.worker_num + server.server_num}",
            "Start as many ranks, or change worker_num and server_num.",
        )
    began = time.monotonic()
    layout = build_layout(task, server.server_num)
    store = _open_store(gang, server)
    token = _agree_on_token(store, gang)
    try:
        if gang.rank >= server.worker_num:
            report = _serve(gang, store, server, options, layout, token, checkpoint_dir)
        else:
            notifier = EpochNotifier(on_epoch)
            optimizer = optimizer or OptimizerState()
            report = _work(gang, store, task, server, options, layout, token, began, notifier, optimizer)
    finally:
        _leave_store(store, gang)
    return layout.module, report


class OptimizerState:
    """The optimizer of a fit over all its shards: tensors of one value, and flat vectors of all trainable values.

    `tensors`: what rank 0 gives the servers to begin with. `fetch` asks the servers: inside on_epoch, on rank 0.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        self.tensors = dict(tensors or {})
        self._clients: list[ShardClient] = []

    def connect(self, clients: list[ShardClient]) -> None:
        self._clients = clients

    def fetch(self) -> dict[str, Tensor]:
        """The state as it is now; of sync mode exactly that at the end of the epoch."""
        shards = [load_tensors(client.call("get_optimizer")) for client in self._clients]
        return {
            name: first if first.ndim == 0 else torch.cat([shard[name] for shard in shards])
            for name, first in (shards[0].items() if shards else ())
        }

    def put(self, clients: list[ShardClient], layout: ParameterLayout) -> None:
        """Give each server its part."""
        for client, shard in zip(clients, layout.shards, strict=True) if self.tensors else ():
            if json.loads(client.call("status"))["initialised"]:
                continue
            own = {n: tensor if tensor.ndim == 0 else tensor[shard].clone() for n, tensor in self.tensors.items()}
            client.call("put_optimizer", safetensors.torch.save(own))


def _open_store(gang: GangPlace, server: ServerOptions) -> Any:
    """The gang's store, hosted by rank 0 unless the launcher hosts it."""
    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            gang.host,
            gang.port,
            gang.world,
            is_master=gang.rank == 0 and not gang.store_is_hosted,
            timeout=timedelta(seconds=server.rpc_timeout),
            wait_for_workers=False,
            multi_tenant=True,  # the process may have a process group on it already
        )
    except (RuntimeError, ValueError) as error:
        raise FitError(
            f"The store at {gang.host}:{gang.port} cannot be reached within rpc_timeout={server.rpc_timeout:g} s "
            f"({str(error).splitlines()[0][:300]}). Check MASTER_ADDR and MASTER_PORT."
        ) from error
    return dist.PrefixStore(f"parameter-server/{gang.attempt}/{next(_numbers)}", store)  # type: ignore[attr-defined]


def _leave_store(store: Any, gang: GangPlace) -> None:
    """Say that this rank needs the store no more; who hosts it waits for the others, as it may end afterwards."""
    with suppress(RuntimeError):
        store.set(f"left/{gang.rank}", "")
        until = time.monotonic() + _LEAVE_SECONDS
        if gang.rank == 0 and not gang.store_is_hosted:
            while not store.check([f"left/{rank}" for rank in range(gang.world)]) and time.monotonic() < until:
                time.sleep(_POLL_SECONDS)


def _agree_on_token(store: Any, gang: GangPlace) -> str:
    """The same token on every rank: of the environment, else the one that the first rank proposed."""
    return gang.token or str(store.compare_set("token", "", build_token()).decode())


def _spans_hosts(store: Any, gang: GangPlace) -> bool:
    store.set(f"host/{gang.rank}", _describe_host())
    return len({store.get(f"host/{rank}") for rank in range(gang.world)}) > 1


def _describe_host() -> str:
    """The machine and the network of its loopback: members of a job may share the one and not the other."""
    boot, network = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/net")
    parts = [boot.read_text().strip() if boot.exists() else "", os.readlink(network) if network.exists() else ""]
    return " ".join([platform.node(), *parts])


def _find_own_address(gang: GangPlace) -> str:
    """The address by which this host reaches the store's, and so the other ranks. Sends nothing."""
    family, kind, protocol, _, address = socket.getaddrinfo(gang.host, gang.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


# Servers


def _serve(
    gang: GangPlace,
    store: Any,
    server: ServerOptions,
    options: FitOptions,
    layout: ParameterLayout,
    token: str,
    checkpoint_dir: Path | None,
) -> FitReport:
    index = gang.rank - server.worker_num
    began = time.monotonic()
    several = _spans_hosts(store, gang)
    certificate = build_certificate() if several or server.tls else None
    folder = _get_folder(store, index, checkpoint_dir)
    host = _find_own_address(gang) if several else "127.0.0.1"
    service = ShardServer(folder, index, server, options, token=token, host=host, certificate=certificate)
    try:
        StoreDirectory(store).publish(index, service.address)
        ended = None
        while not service.is_released:
            time.sleep(min(_TICK_SECONDS, server.heartbeat_interval))
            shard = service.shard
            if shard is None:
                if time.monotonic() - began > server.rpc_timeout:
                    raise FitError(f"No worker sent parameters within rpc_timeout={server.rpc_timeout:g} s.")
                continue
            shard.drop_silent()
            if shard.abandoned_seconds > server.rpc_timeout:
                raise FitError(f"No worker is left, and none came back within rpc_timeout={server.rpc_timeout:g} s.")
            if shard.is_finished:
                ended = ended or time.monotonic()
                if time.monotonic() - ended > server.rpc_timeout:
                    break  # somebody finished and died before it fetched the result
        if service.shard is None:
            raise FitError("No worker sent parameters.")
        return build_report(
            server,
            options,
            layout.size,
            vars(service.shard.progress),
            seconds=time.monotonic() - began,
            tls=certificate is not None,
            restarts={"worker": 0, "server": 0},
            events=[],
        )
    finally:
        service.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _get_folder(store: Any, index: int, checkpoint_dir: Path | None) -> Path:
    """The private folder of a shard's checkpoints: a server that comes back on the host finds its predecessor's."""
    key = f"folder/{index}"
    if store.check([key]):
        folder = Path(store.get(key).decode())
        if folder.is_dir() and folder.stat().st_uid == os.getuid():
            return folder
    if checkpoint_dir is not None:
        checkpoint_dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="parameter-server-", dir=checkpoint_dir)).resolve()
    store.set(key, str(folder))
    return folder


# Workers


def _work(
    gang: GangPlace,
    store: Any,
    task: Task,
    server: ServerOptions,
    options: FitOptions,
    layout: ParameterLayout,
    token: str,
    began: float,
    notifier: EpochNotifier,
    optimizer: OptimizerState,
) -> FitReport:
    _spans_hosts(store, gang)
    directory = StoreDirectory(store)
    clients = [ShardClient(index, directory, server, token) for index in range(server.server_num)]

    def report_epoch(begun: int) -> bool:
        if gang.rank > 0:
            return False
        return notifier.notify(compute_mean_losses(json.loads(clients[0].call("report"))["losses"])[:begun])

    try:
        optimizer.connect(clients)
        if gang.rank == 0:
            optimizer.put(clients, layout)
            _initialise(clients, layout)
        session = os.urandom(8).hex()
        Worker(task, gang.rank, session, server, options, directory, token, layout, report_epoch).train()
        body = json.dumps({"rank": gang.rank}).encode()
        while not json.loads(clients[0].call("status"))["finished"]:
            time.sleep(_POLL_SECONDS)
        values = torch.empty(layout.size)
        for client, shard in zip(clients, layout.shards, strict=True):
            client.get_parameters(view_array(values[shard]))
        layout.load_values(values)
        layout.release()
        layout.load_state(clients[0].call("get_state", b'{"rank": 0}'))
        progress = json.loads(clients[0].call("report"))
        if gang.rank == 0:
            notifier.notify(compute_mean_losses(progress["losses"]))
        for client in clients:
            with suppress(FitError):  # it stops as soon as everybody has released it
                client.call("release", body, seconds=1)
    finally:
        for client in clients:
            client.close()
    return build_report(
        server,
        options,
        layout.size,
        progress,
        seconds=time.monotonic() - began,
        tls=clients[0].is_encrypted,
        restarts={"worker": 0, "server": 0},
        events=[],
    )


def _initialise(clients: list[ShardClient], layout: ParameterLayout) -> None:
    """Give the servers rank 0's module to begin with; a rank 0 that comes back finds that they have one."""
    state = layout.dump_state()
    if state and not json.loads(clients[0].call("status"))["initialised"]:
        clients[0].call("put_initial_state", state)
    values = layout.copy_values()
    for client, shard in zip(clients, layout.shards, strict=True):
        client.put_parameters(view_array(values[shard]), layout.digest)
