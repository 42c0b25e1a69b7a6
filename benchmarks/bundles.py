"""Verifying a bundle against one plain SHA-256 pass over the same bytes, and taking small objects out of volumes with
one flush against an fsync of each; in the same process and alternately.

    python benchmarks/bundles.py --megabytes 512 --objects 5000

Prints the rate of each and their ratio: for verifying, 1.0 would be as fast as hashing alone. Files come from the page
cache; what is taken out goes to the disk of `--folder`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from deepseek.bundles import extraction
from deepseek.bundles.spec import BundleHead, Content, ObjectRef, PlaneRef
from deepseek.bundles.verification import verify_bundle
from deepseek.bundles.writer import write_bundle

CHUNK = 4 << 20


def hash_files(folder: Path) -> None:
    """The named alternative: `hashlib.file_digest` over every volume."""
    for path in sorted(folder.glob("*.tar")):
        with path.open("rb", buffering=0) as file:
            hashlib.file_digest(file, "sha256")


def measure(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def build(folder: Path, megabytes: int) -> int:
    """A bundle of one large object and a thousand small ones; its bytes."""
    sizes = [megabytes * 900_000, *[megabytes * 100] * 1000]
    data = {}
    for size in sizes:
        block = os.urandom(min(size, 1 << 20))
        content = (block * (size // len(block) + 1))[:size]
        data[hashlib.sha256(content).hexdigest()] = content
    refs = [ObjectRef(digest, len(content)) for digest, content in data.items()]
    plane = PlaneRef("a" * 32, "source")
    contents = (Content("run", "run", "1" * 64),)
    head = BundleHead("b" * 32, plane, plane, 1, "2026-11-30T09:00:00Z", "0" * 64, contents, refs[0], refs[1])

    def open_object(digest: str, start: int, end: int) -> list[memoryview]:
        view = memoryview(data[digest])
        return [view[at : min(at + CHUNK, end)] for at in range(start, end, CHUNK)]

    return write_bundle(folder, head, refs, open_object, volume_bytes=200_000_000).size  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--objects", type=int, default=5000, help="small objects that are taken out of a volume")
    parser.add_argument("--folder", type=Path, default=None, help="on the disk that is measured")
    arguments = parser.parse_args()
    compare_verification(arguments)
    compare_extraction(arguments)


def compare_extraction(arguments: argparse.Namespace) -> None:
    """Seconds of the clock: what is measured is the wait for the disk."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder, rows = Path(name), []
        data = {hashlib.sha256(block).hexdigest(): block for block in map(os.urandom, [2_000] * arguments.objects)}
        refs = [ObjectRef(digest, len(block)) for digest, block in data.items()]
        plane = PlaneRef("a" * 32, "source")
        contents = (Content("run", "run", "1" * 64),)
        head = BundleHead("b" * 32, plane, plane, 1, "2026-11-30T09:00:00Z", "0" * 64, contents, refs[0], refs[1])
        manifest = write_bundle(
            folder, head, refs, lambda digest, start, end: [data[digest][start:end]], volume_bytes=200_000_000
        )
        for turn in range(arguments.rounds):
            seconds = []
            for one_by_one in (10**9, extraction.ONE_BY_ONE):
                with mock.patch.object(extraction, "ONE_BY_ONE", one_by_one):
                    began = time.monotonic()
                    objects = folder / f"objects-{turn}-{one_by_one}"
                    extraction.extract_volume(folder / manifest.volumes[0].name, manifest.volumes[0], head.id, objects)
                    seconds.append(time.monotonic() - began)
            rows.append(seconds)
    each, once = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(first / second for first, second in rows)
    print(f"{arguments.objects:,} objects of 2 kB, seconds of the clock, median of {arguments.rounds} rounds")
    print(f"fsync of each        {each:6.3f} s")
    print(f"one flush            {once:6.3f} s")
    print(f"ratio                {ratio:6.2f}     (how many times as fast)")


def compare_verification(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = build(folder, arguments.megabytes)
        hash_files(folder)
        rows = [
            (measure(lambda: hash_files(folder)), measure(lambda: verify_bundle(folder)))
            for _ in range(arguments.rounds)
        ]
    plain, verify = (statistics.median(column) for column in zip(*rows, strict=True))
    ratio = statistics.median(hashed / verified for hashed, verified in rows)
    print(f"{size / 1e6:,.0f} MB, processor seconds, median of {arguments.rounds} alternating rounds")
    print(f"hashlib.file_digest  {plain:6.3f} s  {size / plain / 1e9:5.2f} GB/s")
    print(f"verify_bundle        {verify:6.3f} s  {size / verify / 1e9:5.2f} GB/s")
    print(f"ratio                {ratio:6.2f}     (1.0: as fast as hashing alone)")


if __name__ == "__main__":
    main()
