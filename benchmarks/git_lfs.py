"""What a push by git-lfs costs beside what the client must do anyway: hash the file, and copy it into its own store.

    python benchmarks/git_lfs.py [--gigabytes 1] [--rounds 3]

Starts a gunicorn of its own on SQLite in a temporary home. Each round makes a fresh file of random bytes and takes the
time of `git add` (git-lfs hashes it and copies it into .git/lfs), of one `sha256sum` and one `cp` with fsync of it, and
of `git lfs push`. Goal: a push at 0.9 of the rate at which the client hashes. It also counts what the plane keeps
afterwards: the bytes once. Seconds of processor time stand beside those of the clock, for a machine that is busy: of
the client (git-lfs itself), and of the web process.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from upload_memory import BLOCK, TOKEN, blocks, start, worker_of

CONFIG = """[user]
name = a
email = a@b
[filter "lfs"]
clean = git-lfs clean -- %f
smudge = git-lfs smudge --skip -- %f
process = git-lfs filter-process --skip
required = true
[init]
defaultBranch = main
"""


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def processor(web: int) -> tuple[float, float]:
    """Processor seconds so far, of what this process started and waited for, and of the web process."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    fields = Path(f"/proc/{web}/stat").read_text().rpartition(")")[2].split()
    return children.ru_utime + children.ru_stime, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kept(home: Path) -> int:
    """Bytes of every file that the plane has, but its database and logs."""
    folders = (home / "artifacts", home / "repositories", home / "uploads")
    return sum(path.stat().st_size for each in folders for path in each.rglob("*") if path.is_file())


def copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", source, target], check=True)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    target.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    size = int(asked.gigabytes * 1024) * BLOCK
    home = Path(tempfile.mkdtemp(prefix="git-lfs-"))
    work = home / "work"
    work.mkdir()
    (home / ".gitconfig").write_text(CONFIG)
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_TERMINAL_PROMPT": "0", "LANG": "C.UTF-8"}

    def git(*words: str) -> None:
        done = subprocess.run(["git", *words], cwd=work, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    process, port = start(home)
    try:
        git("init", "-q")
        git("lfs", "track", "*.bin")
        git("remote", "add", "origin", f"http://git:{TOKEN}@127.0.0.1:{port}/git/demo/large.git")
        git("add", "-A")
        (work / "warm.csv").write_text("a\n1\n")  # what the first request imports is not the push's
        git("add", "-A")
        git("commit", "-qm", "warm")
        git("push", "origin", "main")
        ratios, web = [], worker_of(process)
        for number in range(1, asked.rounds + 1):
            file = work / "large.bin"
            with file.open("wb") as out:
                out.writelines(blocks(size, number))
                os.fsync(out.fileno())
            hashing = timed(lambda: subprocess.run(["sha256sum", file], check=True, capture_output=True))  # noqa: B023
            copying = timed(lambda: copy(file, home / "copy"))  # noqa: B023
            began = processor(web)
            adding = timed(lambda: git("add", "large.bin"))
            hashed = processor(web)[0] - began[0]
            git("commit", "-qm", f"round {number}")
            before = kept(home)
            began = processor(web)
            pushing = timed(lambda: git("lfs", "push", "origin", "main"))
            sent, received = (after - first for after, first in zip(processor(web), began, strict=True))
            whole = pushing + timed(lambda: git("push", "origin", "main"))
            ratios.append(((hashing + copying) / pushing, adding / pushing))
            print(
                f"round {number}: {size / 1e9:.2f} GB, sha256sum {hashing:.1f} s, cp + fsync {copying:.1f} s, git add "
                f"{adding:.1f} s, git lfs push {pushing:.1f} s (with git push {whole:.1f} s); rate of the push: "
                f"{ratios[-1][0]:.2f} of sha256sum + cp, {ratios[-1][1]:.2f} of git add; "
                f"processor: git add {hashed:.2f} s, push {sent:.2f} s of the client, {received:.2f} s of the plane; "
                f"kept by the plane {(kept(home) - before) / size:.3f} of the file"
            )
            shutil.rmtree(work / ".git" / "lfs" / "objects")
        first, second = (median(each) for each in zip(*ratios, strict=True))
        print(f"median: {first:.2f} of sha256sum + cp, {second:.2f} of git add (goal 0.9)")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
