"""Containers without an engine: the kernel's own namespaces, an overlay of this machine as every image, and of the
compose file everything that they can enforce: command, environment, user, read-only root, capabilities, mounts,
secrets. What they do not: memory and CPU limits, and a network of its own for each container."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.deploy.compose import ROOT, build_steps, seconds

PATH = "/opt/plane/bin:/opt/postgres:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USERS = {"database": 999, "proxy": 101}  # what the images' own /etc/passwd says, PostgreSQL insists on a name


def sh(script: str, **more: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise RuntimeError(f"{script}\n{done.stdout}{done.stderr}")
    return done


class Image:
    """This machine under a layer that is thrown away, with the plane installed from its wheel at /opt/plane."""

    def __init__(self, work: Path, wheel: Path) -> None:
        self.work, self.root = work, work / "root"
        sh(f"mount -t tmpfs tmpfs {work} && cd {work} && mkdir up wk root volumes && mkdir -m 700 secrets")
        sh(f"mount -t overlay overlay -o lowerdir=/,upperdir={work}/up,workdir={work}/wk {self.root}")
        sh(f"cd {self.root} && mount --rbind /dev dev && mount -t proc proc proc && mount --rbind /sys sys")
        self.install(wheel)
        self.add_users()
        (self.root / "etc/nginx").mkdir(exist_ok=True)
        (self.root / "etc/nginx/plane.conf").touch()
        for folder in ("data", "var/lib/postgresql/data", "var/lib/plane"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    def install(self, wheel: Path) -> None:
        """The wheel as it is, on top of the packages that the tests run with; none of it from the repository."""
        python, packages = Path(sys.executable), next(Path(sys.prefix).glob("lib/python*/site-packages"))
        sh(f"mkdir -p {self.root}/opt/packages && mount --bind {shlex.quote(str(packages))} {self.root}/opt/packages")
        shutil.copy(wheel, self.root / "opt")
        for folder in Path(os.path.realpath(python)).parents:  # a Python below somebody's home
            (self.root / folder.relative_to("/")).chmod(0o755)
        inside = f"""
            {os.path.realpath(python)} -m venv /opt/plane
            echo /opt/packages > /opt/plane/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/more.pth
            /opt/plane/bin/pip install -q --disable-pip-version-check --no-index --no-deps /opt/{wheel.name}
            ln -s {max(Path("/usr/lib/postgresql").glob("*/bin"))} /opt/postgres
        """
        sh(f"chroot {self.root} env -i PATH={PATH} sh -ec {shlex.quote(inside)}")

    def add_users(self) -> None:
        for name, number in USERS.items():
            with (self.root / "etc/passwd").open("a") as users:
                users.write(f"c-{name}:x:{number}:{number}::/nonexistent:/bin/false\n")
        sh(f"chroot {self.root} env -i PATH={PATH} sh -ec {shlex.quote(build_steps()[1])}")


class Container:
    def __init__(self, image: Image, name: str, spec: dict[str, Any], secrets: Path) -> None:
        self.image, self.name, self.spec, self.secrets = image, name, spec, secrets
        self.log = image.work / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    # -- what the compose file says ---------------------------------------------------------------------------------
    def mounts(self) -> str:
        """A shell script that lays out this container's file system below $R, in a mount namespace of its own."""
        lines = [f"R={self.image.root}", "mount -t tmpfs -o mode=0755 tmpfs $R/run", "mkdir $R/run/secrets"]
        for secret in self.spec.get("secrets", []):
            lines.append(f"touch $R/run/secrets/{secret}")
            lines.append(f"mount --bind {self.secrets / secret} $R/run/secrets/{secret}")
        if self.spec["read_only"]:
            lines.append("mount -o remount,ro,bind $R")
        for place in sorted(self.spec.get("tmpfs", [])):
            path, _, options = place.partition(":")
            lines.append(f"mkdir -p $R{path}; mount -t tmpfs -o {options} tmpfs $R{path}")
        for volume in self.spec.get("volumes", []):
            source, target, *mode = volume.split(":")
            lines.append(self.volume(source, target, "ro" in mode))
        return "\n".join(lines)

    def volume(self, source: str, target: str, read_only: bool) -> str:
        if source.startswith("./"):
            what = shlex.quote(str(ROOT / source))
            return f"mount --bind {what} $R{target}" + (f"; mount -o remount,ro,bind $R{target}" if read_only else "")
        place = self.image.work / "volumes" / source
        if not place.exists():  # as an engine does: a new volume takes content and owner from the image
            sh(f"cp -a {self.image.root}{target} {place}")
            if self.name in ("database", "broker"):
                sh(f"chown {self.spec['user']} {place}")
        return f"mkdir -p $R{target}; mount --bind {place} $R{target}"

    def inside(self, command: list[str], *, mounted: bool = True) -> list[str]:
        """The command with this container's file system, user, capabilities and environment, and nothing else."""
        uid, _, gid = self.spec["user"].partition(":")
        drop = "--clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
        given = {"PATH": PATH, "HOSTNAME": self.name, **self.spec.get("environment", {})}
        given |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}  # of the Dockerfile
        environment = " ".join(shlex.quote(f"{name}={value}") for name, value in given.items())
        where = "/var/lib/plane" if "deepseek-plane" in command else "/"
        run = f"exec chroot $R setpriv --reuid={uid} --regid={gid} {drop} env -i -C {where} {environment} "
        script = f"set -e\n{self.mounts()}\n{run}{shlex.join(command)}"
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]

    def command(self) -> list[str]:
        return [*self.spec.get("entrypoint", []), *self.spec["command"]]

    # -- what an engine does ----------------------------------------------------------------------------------------
    def start(self) -> None:
        with self.log.open("ab") as log:
            os.fchown(log.fileno(), int(self.spec["user"].partition(":")[0]), -1)  # as an engine does with the streams
            self.process = subprocess.Popen(self.inside(self.command()), stdout=log, stderr=log)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`docker compose run --rm`: in a container like this one."""
        done = subprocess.run(self.inside(list(command)), capture_output=True, text=True, check=False, timeout=120)
        if check and done.returncode:
            raise RuntimeError(f"{self.name}: {command}: {done.stdout}{done.stderr}{self.said()}")
        return done

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """`docker compose exec`: in the running container's own file system."""
        entered = ["nsenter", "--mount", f"--target={self.process.pid}", *self.inside(list(command))[4:]]
        entered[-1] = entered[-1].replace(self.mounts(), f"R={self.image.root}")
        return subprocess.run(entered, capture_output=True, text=True, check=False, timeout=120)

    def is_healthy(self) -> bool:
        kind, *test = self.spec["healthcheck"]["test"]
        done = self.execute(*(test if kind == "CMD" else ["sh", "-c", *test]))
        self.complaint = done.stdout + done.stderr
        return done.returncode == 0

    def wait_until_healthy(self) -> None:
        check = self.spec["healthcheck"]
        deadline = time.monotonic() + seconds(check["start_period"]) + check["retries"] * seconds(check["interval"])
        while not self.is_healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} is not healthy: {self.complaint}\n{self.said()}")
            time.sleep(0.3)

    def stop(self) -> int:
        """The exit status; -9 if it had to be killed after its grace."""
        number = getattr(signal, self.spec.get("stop_signal", "SIGTERM"))
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout=seconds(self.spec["stop_grace_period"]))
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
