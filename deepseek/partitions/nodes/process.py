"""A scheduler or a worker of the job's own cluster: ``python -m deepseek.partitions.nodes.process REQUEST``.

It ends when its standard input does, which the process that started it holds. There is no dashboard, no page but an
empty one on the loopback, and no address is looked up: both listen on the address that the request gives.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import dask

CLOSED, LOST = 0, 3
"""Exit codes of a worker: the scheduler has ended the cluster, or is gone."""
HERE = "127.0.0.1:0"
CONFIG: dict[str, Any] = {
    "logging": {"distributed": "error"},
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.allowed-failures": 3,
    "distributed.scheduler.worker-ttl": "300s",  # a busy one was silent for 10 s on a loaded machine
    "distributed.worker.profile.enabled": False,
    "distributed.diagnostics.nvml": False,
    "distributed.comm.require-encryption": True,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.comm.tls.min-version": 1.3,
    "distributed.admin.system-monitor.gil.enabled": False,
}


def configure_dask() -> None:
    """What every process of the cluster has to know before it imports the rest of Dask. No file is read for it."""
    dask.config.refresh(paths=[], env={})
    dask.config.set(CONFIG)


def build_security(request: dict[str, Any]) -> Any:
    import distributed

    roles = ("scheduler", "worker", "client")
    files = {f"tls_{role}_{what}": request[what] for role in roles for what in ("cert", "key")}
    security: Any = distributed.Security
    return security(require_encryption=True, tls_ca_file=request["ca"], **files)


async def run_scheduler(request: dict[str, Any]) -> int:
    from distributed import Scheduler

    scheduler: Any = Scheduler(
        host=request["host"],
        port=request["port"],
        protocol="tls",
        security=build_security(request),
        dashboard=False,
        dashboard_address=HERE,
    )
    await scheduler
    await scheduler.finished()
    return 0


async def run_worker(request: dict[str, Any]) -> int:
    from distributed import Worker

    from deepseek.partitions.nodes.tasks import build_files, set_files

    scratch = Path(request["scratch"])
    set_files(
        build_files(
            scratch,
            request["inputs"],
            request["credentials"],
            is_first_node=request["is_first_node"],
            memory_bytes=request["memory_bytes"],
        )
    )
    reasons: list[str] = []

    class PartitionWorker(Worker):
        async def close(self, *args: Any, **options: Any) -> Any:
            reasons.append(str(options.get("reason", "")))
            return await super().close(*args, **options)

    worker: Any = PartitionWorker(
        request["scheduler"],
        host=request["host"],
        nthreads=1,
        memory_limit=0,
        local_directory=request["local"],
        security=build_security(request),
        dashboard=False,
        dashboard_address=HERE,
        name=request["name"],
    )
    try:
        await worker
    except (OSError, TimeoutError) as error:
        sys.stderr.write(f"This worker cannot join: {error}. Do all nodes have the same SECRET_KEY?\n")
        return LOST
    await worker.finished()
    return CLOSED if reasons and reasons[0] == "scheduler-close" else LOST


def end_with_input() -> None:
    """End the process once nobody holds the other end of its input."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(LOST)

    threading.Thread(target=wait, daemon=True).start()


def main(path: str) -> NoReturn:
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    request = json.loads(Path(path).read_text())
    end_with_input()
    configure_dask()
    code = asyncio.run(run_scheduler(request) if request["role"] == "scheduler" else run_worker(request))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
