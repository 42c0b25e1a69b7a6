"""`systemctl` for a machine that has no systemd, in the proof of docs/install.md: it reads the real units and starts
what they say, as the user and in the environment that they say. Standard library only: it runs on the bare machine."""

from __future__ import annotations

import os
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

UNITS, LOGS = Path("/etc/systemd/system"), Path("/var/log/units")
DISTRIBUTION = {
    "redis-server": ["runuser", "-u", "redis", "--", "redis-server", "/etc/redis/redis.conf", "--daemonize", "no"],
    "nginx": ["nginx", "-g", "daemon off;"],
}


class Unit(RawConfigParser):
    optionxform = staticmethod(str)  # type: ignore[assignment]


def environment_of(path: str) -> dict[str, str]:
    lines = (line.strip() for line in Path(path).read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def spawn(name: str, command: list[str], **more: object) -> subprocess.Popen[bytes]:
    LOGS.mkdir(exist_ok=True)
    with (LOGS / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **more
        )


def start(name: str) -> None:
    started = LOGS / f"{name}.pid"
    if started.exists():
        return
    if name in DISTRIBUTION:
        process = spawn(name, DISTRIBUTION[name])
    else:
        unit = Unit(strict=False)
        unit.read(UNITS / f"{name}.service")
        for needed in unit.get("Unit", "Requires", fallback="").split():
            start(needed.removesuffix(".service"))
        service = unit["Service"]
        given = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment_of(service["EnvironmentFile"])}
        user = ["setpriv", f"--reuid={service['User']}", f"--regid={service['Group']}", "--init-groups"]
        drop = ["--no-new-privs", "--bounding-set=-all"]
        where = service["WorkingDirectory"]
        process = spawn(name, [*user, *drop, *service["ExecStart"].split()], cwd=where, env=given, umask=0o077)
        if service["Type"] == "oneshot" and process.wait():
            sys.exit(f"Job for {name}.service failed: {(LOGS / f'{name}.log').read_text()}")
    started.write_text(str(process.pid))


def main(verb: str, *names: str) -> None:
    for name in names if verb in ("restart", "enable") else ():
        if not name.startswith("-"):
            start(name.removesuffix(".service"))


if __name__ == "__main__":
    os.umask(0o022)
    main(*sys.argv[1:])
