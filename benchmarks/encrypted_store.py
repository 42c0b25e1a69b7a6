"""An upload into the encrypted store against the same into the plain one.

`python benchmarks/encrypted_store.py [--megabytes N] [--rounds N] [--cipher sm4-gcm]`

Both write to a temporary folder (of the disk of --folder), with the chunk digests, to the final flush, alternately in
one process; then both are read and hashed whole. The ratio is encrypted / plain of the medians of the seconds.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
CHUNK = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cipher", default="aes-256-gcm", choices=("aes-256-gcm", "sm4-gcm"))
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()

    import django

    django.setup()
    from pydantic import SecretStr

    from apps.platform.artifacts.local_store import LocalStore
    from apps.platform.artifacts.stores import build_encrypted_store

    pieces = [os.urandom(CHUNK) for _ in range(64)]
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    key = SecretStr("bench:" + base64.b64encode(os.urandom(32)).decode())
    seconds: dict[str, list[float]] = {}
    try:
        for number in range(options.rounds):
            stores = {
                "plain": LocalStore(folder / "plain"),
                "encrypted": build_encrypted_store(LocalStore(folder / "encrypted"), (key,), options.cipher),
            }
            for name, store in reversed(stores.items()) if number % 2 else stores.items():
                began = time.perf_counter()
                with store.open_staging() as staging:
                    for index in range(options.megabytes):
                        staging.write(pieces[index % len(pieces)])
                    digest, _size = staging.publish()
                seconds.setdefault(f"write {name}", []).append(time.perf_counter() - began)
                began = time.perf_counter()
                assert store.verify(digest)
                seconds.setdefault(f"read {name}", []).append(time.perf_counter() - began)
                store.collect(digest)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name}: {value:.2f} s, {options.megabytes / value:.0f} MiB/s")
    for what in ("write", "read"):
        print(f"{what}: {medians[f'{what} encrypted'] / medians[f'{what} plain']:.3f} of plain ({options.cipher})")


if __name__ == "__main__":
    main()
