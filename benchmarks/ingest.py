"""How fast files of this machine become a version, against cp and DVC: python benchmarks/ingest.py WORKDIR DVC [ROUNDS]

DVC: the dvc of a virtual environment of its own. Every method reads the same bytes, in turn, ROUNDS times: one file of
2 GB and 10,000 of 50 KB, made in WORKDIR/src where they are not there. Two figures each: of the whole process, which is
what a person waits for, and of the work alone, without the start of Python and of its imports.

Neither cp nor DVC syncs anything to the disk; the plane does, unless it is told not to, which no command can. So the
plane is timed both ways, and compared without the sync; what the sync costs stands beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

BIG, MANY, FILE = 2_000_000_000, 10_000, 50_000
SELF = Path(__file__).resolve()
IN_DVC = """
import time
from dvc.repo import Repo
began = time.perf_counter()
Repo().add(["data"])
print(time.perf_counter() - began)
"""


def main() -> None:
    work, dvc = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).absolute()
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    make_sources(work)
    template = made_home(work)
    took: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for _ in range(rounds):
        for case in ("big", "many"):
            for name, seconds in one_round(work, dvc, template, case):
                took[case, name].append(seconds)
                print(f"{case:5} {name:34} {seconds[0]:7.2f} s, work alone {seconds[1]:7.2f} s", flush=True)
    tell({key: tuple(statistics.median(part) for part in zip(*values, strict=True)) for key, values in took.items()})


def one_round(work: Path, dvc: Path, template: Path, case: str):
    source = work / "src" / ("big.bin" if case == "big" else "many")
    yield "cp", copied(work, source)
    for mode, durable in (("copy", False), ("copy", True), ("link", False)):
        home, data = fresh(work, template, source)
        yield f"plane {mode}{' durable' if durable else ''}", ours(home, data, mode, durable)
        if mode == "copy" and not durable:
            yield "dvc copy", theirs(work, dvc, source, "copy")
            change(work / "dvc" / "data")
            yield "dvc again, 1 changed", in_dvc(work, dvc)
            change(data)
            yield "plane again, 1 changed", ours(home, data, mode, durable)
    yield "dvc hard link", theirs(work, dvc, source, "hardlink")
    for left in ("home", "data", "dvc"):
        shutil.rmtree(work / left, ignore_errors=True)
    (work / "data").unlink(missing_ok=True)


# -- each method ----------------------------------------------------------------------------------------------------
def copied(work: Path, source: Path) -> tuple[float, float]:
    target = work / "cp"
    settle()
    began = time.perf_counter()
    subprocess.run(["cp", "-r", "--reflink=never", source, target], check=True)
    seconds = time.perf_counter() - began
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    return seconds, seconds


def ours(home: Path, data: Path, mode: str, durable: bool) -> tuple[float, float]:
    command = [sys.executable, SELF, "--one", data, mode, str(int(durable))]
    return timed(command, {"PLANE_HOME": str(home)}, home)


def theirs(work: Path, dvc: Path, source: Path, kind: str) -> tuple[float, float]:
    folder = work / "dvc"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    subprocess.run([dvc, "init", "-q"], cwd=folder, check=True)
    subprocess.run([dvc, "config", "cache.type", kind], cwd=folder, check=True)
    place(source, folder / "data")
    return in_dvc(work, dvc)


def in_dvc(work: Path, dvc: Path) -> tuple[float, float]:
    command = [dvc.parent / "python", "-c", IN_DVC]
    return timed(command, {"DVC_NO_ANALYTICS": "1"}, work / "dvc")


def settle() -> None:
    """What was written before is on the disk: else whoever comes next waits for it, and cp, the first, for nothing."""
    os.sync()


def timed(command: list[object], environment: dict[str, str], where: Path) -> tuple[float, float]:
    """(seconds of the process, seconds that it says its work took: the last line it prints)."""
    settle()
    began = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command], cwd=where, env=os.environ | environment, check=True, stdout=subprocess.PIPE
    )
    return time.perf_counter() - began, float(done.stdout.split()[-1])


def one(data: str, mode: str, durable: str) -> None:
    """What `manage.py ingest` does, in this process."""
    sys.path.insert(0, str(SELF.parents[1]))
    os.environ["DJANGO_SETTINGS_MODULE"] = "controlplane.settings"
    import django

    django.setup()
    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.data.datasets.ingest.local_files import ingest
    from apps.platform.accounts.models import Project

    project = Project.objects.get()
    began = time.perf_counter()
    ingest(
        actor=build_plane_actor(PlaneRole.OPERATOR),
        project=project,
        dataset_name="data",
        path=Path(data),
        mode=mode,  # type: ignore[arg-type]
        durable=durable == "1",
    )
    print(time.perf_counter() - began)


# -- what they work on ----------------------------------------------------------------------------------------------
def make_sources(work: Path) -> None:
    many = work / "src" / "many"
    many.mkdir(parents=True, exist_ok=True)
    for number in range(MANY):
        if not (many / f"f{number:04}").exists():
            (many / f"f{number:04}").write_bytes(os.urandom(FILE))
    if not (work / "src" / "big.bin").exists():
        with (work / "src" / "big.bin").open("wb") as file:
            for _ in range(BIG // 10_000_000):
                file.write(os.urandom(10_000_000))


def made_home(work: Path) -> Path:
    """An empty plane with one project."""
    home = work / "template"
    if not home.exists():
        home.mkdir(mode=0o700)
        manage = [sys.executable, SELF.parents[1] / "manage.py"]
        for words in (["migrate", "-v0"], ["create_project", "demo"]):
            subprocess.run([*manage, *words], env=os.environ | {"PLANE_HOME": str(home)}, check=True)
    return home


def fresh(work: Path, template: Path, source: Path) -> tuple[Path, Path]:
    """A new plane, and a copy of the source that is its own: hard links make files read-only."""
    for left in ("home", "data"):
        shutil.rmtree(work / left, ignore_errors=True)
    (work / "data").unlink(missing_ok=True)
    shutil.copytree(template, work / "home")
    place(source, work / "data")
    return work / "home", work / "data"


def place(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, target)


def change(data: Path) -> None:
    """One file more of other bytes: of the folder one in 10,000, of the file its end."""
    time.sleep(1.1)  # neither tool trusts a file that changed within a tick of the clock
    if data.is_dir():
        (data / "f0001").unlink()
        (data / "f0001").write_bytes(os.urandom(FILE))
    else:
        with data.open("ab") as file:
            file.write(b"x")


def tell(median: dict[tuple[str, str], tuple[float, float]]) -> None:
    print("\ntimes faster than the peer (whole process / work alone; medians)")
    for case in ("big", "many"):
        size = BIG if case == "big" else MANY * FILE
        for mine, peer in (
            ("plane copy", "cp"),
            ("plane copy", "dvc copy"),
            ("plane copy durable", "cp"),
            ("plane copy durable", "dvc copy"),
            ("plane link", "dvc hard link"),
            ("plane link", "dvc copy"),
            ("plane again, 1 changed", "dvc again, 1 changed"),
        ):
            own, other = median[case, mine], median[case, peer]
            times = f"{other[0] / own[0]:5.2f} / {other[1] / own[1]:5.2f}"
            print(f"{case:5} {mine:24} {size / own[0] / 1e6:6.0f} MB/s  {times}  of {peer}")
    print(json.dumps({f"{case} {name}": [round(part, 3) for part in value] for (case, name), value in median.items()}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:])
    else:
        main()
