"""A Dask cluster under TLS, as an operator has one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from deepseek.partitions.cluster_address import ClusterAddress
from deepseek.partitions.dask_carrier import build_security
from tests.certificates import make_certificate

ROOT = Path(__file__).parents[1]


class Cluster:
    """A scheduler and two workers, each a process of its own, under one certificate."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.certificate = make_certificate(folder / "plane.pem")
        self.certificate.chmod(0o600)
        self.start_all("0")

    def start_all(self, port):
        file = str(self.folder / "scheduler.json")
        self.start("scheduler", "--port", port, "--scheduler-file", file, "--no-dashboard")
        for _ in range(2):
            self.start("worker", "--scheduler-file", file, "--nthreads", "1",
                       "--local-directory", str(self.folder), "--no-dashboard")  # fmt: skip

    def start(self, role, *options):
        files = ("--tls-ca-file", "--tls-cert", "--tls-key")
        tls = [text for option in files for text in (option, str(self.certificate))]
        command = [sys.executable, "-m", "distributed.cli.dask_" + role, "--host", "127.0.0.1", "--protocol", "tls"]
        with (self.folder / "log.txt").open("ab") as log:
            self.processes.append(
                subprocess.Popen([*command, *options, *tls], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                                 stdout=log, stderr=log)
            )  # fmt: skip

    @property
    def address(self):
        file = self.folder / "scheduler.json"
        for _ in range(300):
            if file.exists() and file.stat().st_size:
                break
            time.sleep(0.1)
        return ClusterAddress(json.loads(file.read_text())["address"], *[self.certificate] * 3)

    def await_workers(self):
        """Wait until both workers have joined: jobs begin with those that have."""
        from distributed import Client

        security = build_security(self.address)
        with Client(self.address.url, security=security, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)

    def restart(self):
        """Start the cluster again at its address."""
        port = self.address.url.rpartition(":")[2]
        self.stop()
        (self.folder / "scheduler.json").unlink(missing_ok=True)  # the scheduler writes it once it listens
        self.start_all(port)

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []
