"""How far this node can lock an attempt in, tried when the worker starts, and the sandbox that it plans for each."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection

from apps.core.errors import PlaneError
from apps.platform.artifacts.stores import get_store_folder
from apps.platform.jobs.kinds import KINDS, Network
from apps.platform.jobs.models import Job
from deepseek.messages import N_
from deepseek.script.image import JOB_FOLDER
from workers.gangs import link as gang_link
from workers.images.store import find_image, get_root
from workers.process import MARKER, build_marker, stop_marked
from workers.sandbox_trial import TIMED_OUT

log = logging.getLogger(__name__)
TRIAL = Path(__file__).with_name("sandbox_trial.py")
CODE = TRIAL.parent.parent
TRY_SECONDS = (
    360.0  # three ways and one twice more, each with the 60 s of workers/sandbox_trial.py, and the interpreter's start
)
RETRY_SECONDS = 300.0  # between trials that time out: each may keep an attempt waiting for TRY_SECONDS
SCRIPT_PROCESSES = 1000  # processes and threads of a script, at most
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a server binds, and whom its node calls
TOOLS = (("ip", "iproute2"), ("nft", "nftables"))
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
SYSTEM_FOLDERS = frozenset(
    map(Path, ("/", "/etc", "/var", "/var/lib", "/run", "/opt", "/srv", "/mnt", "/home", "/dev", "/tmp", "/var/tmp"))  # noqa: S108
)
SYSTEM_TREES = ("/usr", "/proc", "/sys")
"""Folders of others, the trees with all that is in them: a secret there is covered by itself."""
MAX_LINKS = 40  # of a path, at most: the kernel follows no more


@dataclass(frozen=True, slots=True)
class Isolation:
    """`way`: root, user (a user namespace) or none. `user`: the first of the attempts' own users, if they have any."""

    way: str = "none"
    user: int | None = None
    why_not: list[dict[str, Any]] = field(default_factory=list)  # what was tried in vain before: way, user, reason
    signals: bool = True  # are kept inside
    no_processes: str = ""  # why attempts get no process namespace; empty: they can
    no_images: str = ""  # why scripts cannot have the root of an image; empty: they can

    @property
    def runs_scripts(self) -> bool:
        """Whether the node can lock in code that its users wrote."""
        return self.way != "none" and not self.no_processes

    def gives_all_of(self, other: Isolation) -> bool:
        """Whether attempts that ran in the other one can run here, as the same users."""
        return (self.way, self.user) == (other.way, other.user) and self.runs_scripts >= other.runs_scripts

    @property
    def why_no_images(self) -> str:
        """Why scripts cannot run in images here; empty: they can."""
        if self.runs_scripts:
            return self.no_images
        return self.no_processes or "; ".join(str(row["reason"]) for row in self.why_not) or "there is no sandbox"

    @property
    def networks(self) -> list[str]:
        """The values of a kind's `network` that this node can enforce."""
        if self.way == "none":
            return []
        return [
            Network.NONE,
            Network.PLANE,
            Network.HOSTS,
            Network.STUDY,
            *([] if self.missing_for_peers else [Network.PEERS]),
        ]

    @property
    def missing(self) -> list[str]:
        """What the node lacks for stronger isolation."""
        if self.way == "none":
            return []
        weak = not self.signals and self.user is None
        signals = ["Linux 6.12 or later: a job may send signals to the worker's other processes"] if weak else []
        scripts = [f"scripts: a process namespace ({self.no_processes})"] if self.no_processes else []
        return signals + scripts + self.missing_for_peers

    @property
    def missing_for_peers(self) -> list[str]:
        """What this node lacks for links to other nodes (workers/veth_link.py)."""
        if self.way != "root":
            return ["peers: a worker that root runs"]
        missing = [f"peers: the program {name}, of the package {package}" for name, package in TOOLS if not find(name)]
        if FORWARDING.read_text().strip() != "1":
            missing.append("peers: sysctl net.ipv4.ip_forward=1")
        return missing

    def facts(self) -> dict[str, Any]:
        """For the node's description; `apps/platform/nodes/presenters.py` says it in words."""
        return {
            "way": self.way,
            "user": self.user,
            "why_not": self.why_not,
            "networks": self.networks,
            "missing": self.missing,
            "no_processes": self.no_processes,
        }


_trial_lock = threading.Lock()
_outcome: Isolation | None = None
_retry_at: float | None = None  # on the monotonic clock, after a trial that timed out


def detect_isolation() -> Isolation:
    """Detect the isolation that this node supports; cached until the worker stops.

    But not where it gives nothing, or no scripts or images, because a trial timed out: that says nothing about the
    node, which may have been busy. Such an outcome holds for RETRY_SECONDS; the next attempt after that tries again,
    and never gets less. What keeps a trial from starting raises: jobs do not run with less because the disk was full
    for a moment.
    """
    global _outcome, _retry_at
    with _trial_lock:
        if _outcome is None or (_retry_at is not None and time.monotonic() >= _retry_at):
            outcome = run_trial()
            if _outcome is not None and _outcome.way != "none" and not outcome.gives_all_of(_outcome):
                outcome = _outcome
            reasons = [str(row["reason"]) for row in outcome.why_not] if outcome.way == "none" else []
            reasons += filter(None, dict.fromkeys((outcome.no_processes, outcome.no_images)))
            if any(TIMED_OUT in reason for reason in reasons):
                log.warning("no full sandbox: %s; tried again after %.0f s", "; ".join(reasons), RETRY_SECONDS)
                _retry_at = time.monotonic() + RETRY_SECONDS
            else:
                _retry_at = None
            _outcome = outcome
        return _outcome


def run_trial() -> Isolation:
    """Try the sandbox in a process of its own: the worker has threads and must not fork itself.

    A trial that does not end is ended, and is a reason why this node gives nothing.
    """
    mark = build_marker(0, 0)  # its folder and processes are swept like an attempt's, should the worker die now
    folder = get_scratch_root() / mark.replace(":", "-")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        (folder / "image").mkdir()
        plan = build_base_plan(folder, memory_bytes=2**20) | {"code": str(CODE)}
        if settings.ENV.list_script_images():
            plan["image"] = plan_image(folder / "image")
        ended = subprocess.run(
            [sys.executable, "-I", str(TRIAL)],
            input=json.dumps({"plan": plan, "user": settings.ENV.engine_uid}),
            capture_output=True,
            text=True,
            check=True,
            timeout=TRY_SECONDS,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", MARKER: mark},
        )
    except subprocess.TimeoutExpired:
        stop_marked(mark)
        reason = f"the trial {TIMED_OUT} {TRY_SECONDS:.0f} s"
        return Isolation(why_not=[{"way": "none", "user": None, "reason": reason}])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # Without the folder's name, which differs with each start: the node's description must not.
    return Isolation(**json.loads(ended.stdout.replace(str(folder), "scratch")))


def find(program: str) -> str | None:
    return shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin")


def get_scratch_root() -> Path:
    return Path(settings.PLANE_HOME) / "scratch" / settings.ENV.node


# -- the plan of a sandbox ------------------------------------------------------------------------------------------
def build_base_plan(scratch: Path, *, memory_bytes: int) -> dict[str, Any]:
    """Build the part of the plan that all sandboxes share; `workers/sandbox.py` carries it out."""
    return {
        "scratch": str(scratch),
        "hide": list_hidden_paths(),
        "keep": list_interpreter_folders(),
        "memory_bytes": max(2**20, memory_bytes),
        "host_network": False,
    }


def list_hidden_paths() -> list[str]:
    """List paths hidden from the engine: database, keys, store, repositories and secrets."""
    paths = [Path(settings.PLANE_HOME), Path.home(), get_store_folder(), settings.ENV.repositories_folder]
    if settings.ENV.cluster_folder:
        paths.append(Path(settings.ENV.cluster_folder))
    if connection.vendor == "sqlite":
        paths.append(Path(connection.settings_dict["NAME"]).parent)
    for secret in map(Path, settings.SECRET_FILES):
        # Folders: keys lie beside it, and a cover over a file alone is gone once the file is replaced.
        paths += [secret if is_system_folder(folder) else folder for folder in list_link_folders(secret)]
    return sorted({os.path.realpath(path) for path in paths if path} - {"/"})


def list_link_folders(path: Path) -> list[Path]:
    """The folder of the file and, where it is a link, of every file on the way: the next one may lie below any."""
    folders: list[Path] = []
    for _ in range(MAX_LINKS):
        folder = Path(os.path.realpath(path.parent))
        folders.append(folder)
        try:
            path = folder / os.readlink(folder / path.name)
        except OSError:  # no link, or not there
            break
    return folders


def is_system_folder(folder: Path) -> bool:
    return folder in SYSTEM_FOLDERS or any(map(folder.is_relative_to, SYSTEM_TREES))


def list_interpreter_folders() -> list[str]:
    """What the interpreter is made of, should it lie in a folder that is hidden."""
    return [path for path in dict.fromkeys((str(CODE), sys.prefix, sys.base_prefix, *sys.path)) if os.path.isdir(path)]


def plan_confinement(job: Job, scratch: Path, place: int, *, link: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the request of an attempt says of its sandbox; PlaneError if this node cannot keep the kind's network.

    `link`: of a job over several nodes, without the number and the tools that it has here (workers/gangs/link.py).
    """
    isolation, network = detect_isolation(), KINDS[job.kind].network
    if network not in isolation.networks and (isolation.way != "none" or network == Network.PEERS):
        raise PlaneError(
            "The node {node} cannot keep a job to the network {network_value!r}.",
            node=settings.ENV.node,
            network_value=network.value,
            code="network_refused",
            field="kind",
            limit=", ".join(isolation.networks) or "none",
            hint=N_("Run it on a node whose page lists this network under Isolation."),
        )
    user_code = KINDS[job.kind].user_code
    if user_code and not isolation.runs_scripts and settings.ENV.script_sandbox != "off":
        raise PlaneError(
            "The node {node} cannot lock in code of its users.",
            node=settings.ENV.node,
            code="sandbox_missing",
            field="kind",
            limit="SCRIPT_SANDBOX=required",
            hint=N_("Its page says under Isolation what it lacks; SCRIPT_SANDBOX=off lets scripts run without."),
        )
    user = None if isolation.user is None else isolation.user + place
    if link is not None:
        link = {"type": "gang", "number": place, **link, **find_gang_tools()}
    elif network == Network.PEERS:
        link = plan_peer_link(job, place)
    plan = build_base_plan(scratch, memory_bytes=job.need_memory_bytes) | {
        "way": isolation.way,
        "user": user,
        "link": link,
    }
    if user_code:
        own_processes = isolation.runs_scripts
        plan |= {"own_processes": own_processes, "read_only": [str(scratch / "inputs")], "processes": SCRIPT_PROCESSES}
        image = find_image(job)
        if image is not None:
            if isolation.why_no_images:
                raise build_missing_root_error(isolation.why_no_images)
            plan["keep"] = [*plan["keep"], str(get_root(image))]
            plan["image"] = plan_image(get_root(image))
    connect = None if isolation.way == "none" else list_destinations(network, job)
    return {"sandbox": plan, "connect": connect}


def plan_image(root: Path) -> dict[str, str]:
    return {"root": str(root), "job_folder": JOB_FOLDER}


def build_missing_root_error(reason: str) -> PlaneError:
    return PlaneError(
        "The node {node} cannot run scripts in images: {reason}.",
        node=settings.ENV.node,
        reason=reason,
        code="sandbox_missing",
        field="/spec/environment",
        hint=N_("Let the worker make namespaces, as its page says under Isolation, or name a virtual environment."),
    )


def list_destinations(network: Network, job: Job) -> dict[str, list[str]] | None:
    """What the attempt may connect to: both lists must hold it. None: nothing."""
    if network == Network.HOSTS:
        return {"wanted": json.loads(job.spec)["allowed_hosts"], "allowed": settings.ENV.collect_hosts}
    if network == Network.PLANE:
        return {"wanted": [find_plane_address()], "allowed": [find_plane_address()]}
    return None


def plan_peer_link(job: Job, place: int) -> dict[str, Any]:
    """The other nodes of the job, as its spec names them; what is no address is refused as a rule is made of it."""
    spec = json.loads(job.spec)
    peers = [(address, int(port)) for address, _, port in (str(peer).rpartition(":") for peer in spec["peers"])]
    tools = {name: find(name) for name, _ in TOOLS}
    return {"number": place, "peers": peers, "ports": spec["ports"], **tools}


def find_plane_url() -> str:
    """Address of the plane's web process, as this node reaches it."""
    return settings.ENV.plane_url or f"http://{find_plane_address()}"


def find_gang_tools() -> dict[str, str | None]:
    return {name: find(name) for name in ("ip", "bridge", "nft")}


def can_join_gangs(isolation: Isolation) -> bool:
    """Whether jobs over several nodes may run here. In a user namespace there is no way to other machines; without any
    sandbox an engine has the machine's network, as the operator has allowed.
    """
    return isolation.way == "none" or (isolation.way == "root" and gang_link.is_available(find_gang_tools()))


def find_plane_address() -> str:
    """host:port of the plane's web process, as this node reaches it."""
    if settings.ENV.plane_url:
        parts = urlsplit(settings.ENV.plane_url)
        return join_address(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        port = json.loads((Path(settings.PLANE_HOME) / "plane.json").read_text())["port"]
    except (OSError, ValueError, KeyError):
        port = settings.ENV.port
    return join_address(EVERY_ADDRESS.get(settings.ENV.bind, settings.ENV.bind), port)


def join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
