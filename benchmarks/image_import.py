"""What an import of an image costs beside one SHA-256 pass of the same file.

    python benchmarks/image_import.py [--megabytes 512] [--rounds 3] [--archive DIR] [--store DIR]

Makes a docker-archive of one layer of random bytes in `--archive` (/dev/shm), and a plane on SQLite with its store in
`--store` (a folder on a disk). Each round takes the time of a pass over the file by `hashlib`, and of `import_image`,
which also writes and syncs it; then what was imported is forgotten. Goal: 0.8 of the pass. Seconds of processor time
stand beside those of the clock, for a machine that is busy.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
BLOCK = 1 << 20
KEPT_OUT = ("DATABASE_URL", "BROKER_URL", "ARTIFACT_URL")


def build_archive(path: Path, megabytes: int) -> None:
    """As docker save wrote it before version 25; the layer is one random block with its number before it."""
    block, content_hash = os.urandom(BLOCK - 8), hashlib.sha256()
    layer = path.with_suffix(".layer")
    with layer.open("wb") as file:
        for number in range(megabytes):
            piece = number.to_bytes(8, "big") + block
            content_hash.update(piece)
            file.write(piece)
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{content_hash.hexdigest()}"]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": ["demo/app:v1"], "Layers": ["a/layer.tar"]}]).encode()
    with tarfile.open(path, "w") as archive:
        archive.add(layer, "a/layer.tar")
        for member, text in ((name, config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    layer.unlink()


def hash_pass(path: Path) -> None:
    content_hash = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(BLOCK):
            content_hash.update(chunk)


def measure(action: Callable[[], object]) -> tuple[float, float]:
    """(seconds by the clock, seconds of the processor)"""
    clock, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - clock, time.process_time() - processor


def run_rounds(archive: Path, rounds: int) -> None:
    """In the environment of the plane."""
    import django

    django.setup()
    from django.conf import settings

    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.platform.artifacts.models import Artifact
    from apps.site.mirror import services
    from apps.site.mirror.models import ContainerImage, ImageLayer, ImageTag

    actor = build_plane_actor(PlaneRole.OPERATOR)
    passes, imports = [], []
    for _ in range(rounds):
        passes.append(measure(lambda: hash_pass(archive)))
        imports.append(
            measure(lambda: services.import_image(actor=actor, path=archive, architecture="amd64", move_tag=True))
        )
        for model in (ImageTag, ImageLayer, ContainerImage, Artifact):
            model.objects.all().delete()
        shutil.rmtree(settings.PLANE_HOME / "artifacts")
    rows = {
        name: {"clock_s": round(median(row[0] for row in taken), 2), "cpu_s": round(median(row[1] for row in taken), 2)}
        for name, taken in (("pass", passes), ("import", imports))
    }
    by_clock = [one[0] / other[0] for one, other in zip(passes, imports, strict=True)]
    by_processor = [one[1] / other[1] for one, other in zip(passes, imports, strict=True)]
    rows["ratio"] = {
        "clock": [round(min(by_clock), 2), round(max(by_clock), 2)],
        "cpu": [round(min(by_processor), 2), round(max(by_processor), 2)],
    }
    print(json.dumps({**rows, "load": os.getloadavg()[0]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--archive", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--database", type=Path, help="a migrated SQLite file to copy, else one is made")
    arguments = parser.parse_args()
    if "PLANE_OF_IMPORTS" in os.environ:
        run_rounds(Path(os.environ["PLANE_OF_IMPORTS"]), arguments.rounds)
        return
    with (
        tempfile.TemporaryDirectory(dir=arguments.archive) as folder,
        tempfile.TemporaryDirectory(dir=arguments.store) as home,
    ):
        archive = Path(folder) / "app.tar"
        build_archive(archive, arguments.megabytes)
        kept = {name: value for name, value in os.environ.items() if name not in KEPT_OUT}
        environment = {**kept, "PLANE_HOME": home, "PYTHONPATH": str(ROOT)}
        environment["DJANGO_SETTINGS_MODULE"] = "controlplane.settings"
        if arguments.database:
            shutil.copyfile(arguments.database, Path(home) / "plane.sqlite3")
        else:
            subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
        again = [sys.executable, __file__, "--rounds", str(arguments.rounds)]
        subprocess.run(again, cwd=ROOT, env=environment | {"PLANE_OF_IMPORTS": str(archive)}, check=True)


if __name__ == "__main__":
    main()
