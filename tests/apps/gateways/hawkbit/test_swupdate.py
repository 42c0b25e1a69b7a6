"""Debian's swupdate, as it is, installs a release from a plane: poll, download, install, report after the restart."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.apps.gateways.hawkbit.stock_plane import StockPlane, start_stock_plane
from tests.apps.gateways.hawkbit.swu import Signer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("hawkbit"),
    pytest.mark.skipif(not shutil.which("swupdate"), reason="swupdate is not installed: apt-get install swupdate"),
]
PAYLOAD = b"the bytes of a model" * 1000
PATIENCE = 240.0  # seconds
IS_DONE = ("-c", "2")  # after the restart: the new software works


@contextmanager
def run_swupdate(plane: StockPlane, folder: Path, certificate: Path, *more: str) -> Iterator[None]:
    """swupdate as the device `pump-7` while the block runs."""
    device = ["-S", "hawkbit", "-t", "DEFAULT", "-u", plane.address, "-i", "pump-7", "-k", plane.devices["pump-7"]]
    options = " ".join([*device, "-p", "1", "--identify", "serial", "4711", *more])
    command = ["swupdate", "-l", "4", "-k", str(certificate), "-H", "board:1.0", "-u", options]
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(folder)}
    with (folder / "swupdate.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


def read_device(plane: StockPlane) -> dict:
    """The device and its assignment, as REST has them."""
    api = httpx.Client(
        base_url=f"{plane.address}/api/v1/projects/demo/", headers={"Authorization": f"Bearer {plane.token}"}
    )
    with api:
        [device] = api.get("devices", params={"name": "pump-7"}).raise_for_status().json()["items"]
        [assignment] = api.get("assignments", params={"device": device["id"]}).raise_for_status().json()["items"]
    return device | {"assignment": assignment}


def wait_for(plane: StockPlane, folder: Path, condition) -> dict:
    deadline = time.monotonic() + PATIENCE
    while not condition(found := read_device(plane)):
        assert time.monotonic() < deadline, (found, (folder / "swupdate.log").read_text()[-4000:])
        time.sleep(0.5)
    return found


def test_a_whole_update(tmp_path):
    signer = Signer(tmp_path)
    target = tmp_path / "model.bin"
    archive = tmp_path / "model-1.swu"
    archive.write_bytes(signer.build_swu(PAYLOAD, target=target))
    run = tmp_path / "run"
    run.mkdir()
    with start_stock_plane(tmp_path / "home", archive, "pump-7") as plane:
        with run_swupdate(plane, run, signer.path):
            wait_for(plane, run, lambda found: "All Chunks Installed." in found["assignment"]["message"])
            assert target.read_bytes() == PAYLOAD
            assert read_device(plane)["assignment"]["state"] == "assigned", "not before the restart"
        with run_swupdate(plane, run, signer.path, *IS_DONE):
            found = wait_for(plane, run, lambda found: found["assignment"]["state"] == "succeeded")
    assert found["assignment"]["signed"] is False
    assert found["attributes"] == {"serial": "4711"}
