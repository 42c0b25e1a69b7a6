"""Run every attack of the security review against a plane of its own: exit status 1 if one succeeds.

    python -m tests.attacks [NAME ...] [--folder FOLDER] [--disk-mb N]

The plane listens on 127.0.0.1 and lives in a temporary folder. As root its home is a small file system of its own
(tmpfs), so that the disk can be filled without filling the machine's.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.attacks import clients, faults, inputs, people, processes, resources, stored_bytes
from tests.attacks.target import Outcome, Target
from tests.faults.homes import prepare_home
from tests.faults.running import Running, environment_of

PR_CAPBSET_DROP, CAP_SYS_PTRACE = 24, 19

Attack = Callable[[Target], Outcome]

# In this order: what takes the plane apart comes last.
ATTACKS: dict[str, tuple[str, Attack]] = {
    "long-numbers": ("H1", inputs.send_long_numbers_to_filters),
    "long-cells": ("H2", inputs.upload_long_number_cells),
    "line-feeds": ("H3", inputs.post_line_feeds_to_form),
    "parquet-bomb": ("H4", resources.upload_parquet_bomb),
    "many-keys": ("H4", resources.upload_many_keys),
    "memory": ("H4", resources.allocate_beyond_needs),
    "nested-json": ("L5", inputs.nest_json_lines),
    "half-headers": ("H5", clients.hold_half_headers),
    "trickling-bodies": ("H5", clients.trickle_bodies),
    "homoglyphs": ("L2", people.move_alias_by_homoglyph),
    "own-robot": ("M2", people.approve_own_robot),
    "reset-and-vote": ("M1", people.approve_after_reset),
    "flipped-byte": ("M3", stored_bytes.serve_flipped_byte),
    "cut-file": ("M3", stored_bytes.serve_truncated_file),
    "repair": ("M4", stored_bytes.repair_by_upload),
    "artifact-paths": ("L3", inputs.log_misleading_artifact_paths),
    "blob-bomb": ("L4", inputs.push_blob_bomb),
    "lfsconfig": ("L10", inputs.push_foreign_lfsconfig),
    "foreign-host": ("L6", inputs.send_foreign_host),
    "bodies-first": ("L8", inputs.send_bodies_without_right),
    "inspection": ("L1", processes.inspect_plane_processes),
    "engine-child": ("L1", processes.inspect_engine_child),
    "full-disk": ("M5", faults.fill_disk),
    "broker-folder": ("M6", faults.remove_broker_folder),
    "dead-worker": ("28 s", faults.kill_worker),
    "lock-out": ("L7", people.lock_out_others),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(ATTACKS)}")
    parser.add_argument("--folder", type=Path, help="where the plane's home is made (default: a temporary folder)")
    parser.add_argument("--disk-mb", type=int, default=900, help="size of the home's file system, as root (900)")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - set(ATTACKS):
        parser.error(f"there is no attack {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the plane ends with us
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0)  # for what is started below, as in a container
    with tempfile.TemporaryDirectory(prefix="attacks-", dir=asked.folder) as folder:
        home = Path(folder) / "home"
        home.mkdir()
        mounted = mount_disk(home, asked.disk_mb)
        try:
            return attack_plane(home, asked.names or ATTACKS)
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", str(home)], check=False)


def mount_disk(home: Path, megabytes: int) -> bool:
    """A file system of its own for the home, where we may mount one."""
    if os.geteuid():
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "plane", str(home)]
    return subprocess.run(command, check=False).returncode == 0


def attack_plane(home: Path, names: Iterable[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    environment = environment_of(home, LEASE_SECONDS="30", DISPATCH_SECONDS="1", WEB_THREADS="64", WEB_WORKERS="2")

    accounts = prepare_home({name: value for name, value in environment.items() if value})
    plane = {name: value for name, value in environment.items() if value or name == "SECOND_FACTOR_ROLES"}
    target = Target(Running(home, plane, accounts.token, parts="web,worker,dispatcher,beat"), accounts)
    failures = 0
    try:
        for name in names:
            finding, attack = ATTACKS[name]
            began = time.monotonic()
            try:
                outcome = attack(target)
            except Exception as failure:
                traceback.print_exc()
                outcome = Outcome(False, f"{type(failure).__name__}: {failure}")
            failures += not outcome.repelled
            verdict = "repelled" if outcome.repelled else "SUCCEEDS"
            print(f"{finding:<5} {name:<17} {verdict:<9} {time.monotonic() - began:6.1f} s  {outcome.seen}", flush=True)
    finally:
        target.running.kill_everything()
    print(f"{failures} attacks succeed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
