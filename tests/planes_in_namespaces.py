"""Planes that share no machine, as far as they can tell: each in a network namespace, joined by one bridge.

A plane has a home, a database and an address of its own, and no route but to the bridge's network. Every frame that it
sends is kept. The bridge is a namespace too (`network.hub`): what listens there is at HUB_ADDRESS; it routes nothing.

    with open_network(tmp_path) as network:
        first, second = network.start_planes("first", "second")
        first.plane.get("/jobs")  # REST, from inside the plane's namespace
        first.ask("import json; print(json.dumps(1))")  # code in the plane's settings
        frames = network.read_frames("first")
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from controlplane.rest_client import PlaneClient
from tests.faults.homes import FirstAccounts, prepare_home
from tests.faults.running import PATIENCE, Running, environment_of

T = TypeVar("T")
IP = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
NETWORK, HUB_ADDRESS = "10.83.0", "10.83.0.254"
CLONE_NEWNET = 0x40000000
TCP, ARP, IPV4 = 6, 0x0806, 0x0800
MARKER_TYPE = 0x88B5  # kept for local experiments
CAPTURE = Path(__file__).with_name("bridge_capture.py")

needs_namespaces = pytest.mark.skipif(
    not (os.geteuid() == 0 and IP and shutil.which("nsenter")), reason="needs root and iproute2: .ci/run installs it"
)


class Namespace:
    """A network namespace that lasts until `close`."""

    def __init__(self) -> None:
        # The holder ends when this process does: its input is a pipe from here.
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.holder.stdout.readline()
        self.pid = self.holder.pid
        self.prefix = ("nsenter", "-t", str(self.pid), "-n")
        self._thread = ThreadPoolExecutor(1, initializer=self._enter)
        self.configure("link", "set", "lo", "up")

    def configure(self, *words: object) -> None:
        """`ip WORDS` in it."""
        subprocess.run([*self.prefix, IP, *map(str, words)], check=True, capture_output=True)

    def start(self, *command: object, **options: Any) -> subprocess.Popen:
        return subprocess.Popen([*self.prefix, *map(str, command)], **options)

    def call(self, function: Callable[..., T], *words: Any, **options: Any) -> T:
        """Call a function of this process in it: sockets that it opens are there."""
        return self.submit(function, *words, **options).result()

    def submit(self, function: Callable[..., T], *words: Any, **options: Any) -> Future[T]:
        """Begin to call it, after the calls before it."""
        return self._thread.submit(function, *words, **options)

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(descriptor, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)

    def close(self) -> None:
        self._thread.shutdown()
        self.holder.kill()
        self.holder.communicate()


class NamespaceClient(PlaneClient):
    """The REST client, whose connections are opened in the namespace."""

    def __init__(self, namespace: Namespace, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.namespace = namespace

    def fetch(self, *words: Any, **options: Any) -> bytes:
        return self.namespace.call(super().fetch, *words, **options)


class NamespacePlane(Running):
    """A plane in a namespace. `plane` and `approver` are the REST clients of two of its people."""

    def __init__(
        self, name: str, address: str, namespace: Namespace, home: Path, accounts: FirstAccounts, **settings: str
    ) -> None:
        self.name, self.address, self.namespace = name, address, namespace
        self.prefix, self.accounts = namespace.prefix, accounts
        self.clients: dict[str, PlaneClient] = {}
        secret = f"{name}: no other plane has this key"
        super().__init__(home, environment_of(home, NODE_NAME=name, SECRET_KEY=secret, **settings), accounts.token)

    def build_client(self, address: str, token: str, project: str) -> PlaneClient:
        return NamespaceClient(self.namespace, address, token, project, patience=30)

    def login(self, person: str, scopes: str, project: str = "demo") -> PlaneClient:
        """The REST client of another person of this plane."""
        if person not in self.clients:
            code = f"""
from django.core.management import call_command
call_command("create_token", {person!r}, "--project", {project!r}, "--scopes", {scopes!r})
"""
            self.clients[person] = self.build_client(self.plane.address, self.run_code(code).strip(), project)
        return self.clients[person]

    def await_ready(self, address: str) -> None:
        self.approver = self.build_client(address, self.accounts.approver_token, "demo")
        self.namespace.call(super().await_ready, address)


@dataclass(frozen=True)
class Frame:
    """An Ethernet frame as a plane sent it."""

    data: bytes

    @property
    def kind(self) -> int:
        """EtherType: IPV4, ARP."""
        return int.from_bytes(self.data[12:14], "big")

    @property
    def protocol(self) -> int:
        return self.data[23]

    @property
    def source(self) -> tuple[str, int]:
        return self._read_end(26, 0)

    @property
    def target(self) -> tuple[str, int]:
        return self._read_end(30, 2)

    @property
    def transport(self) -> bytes:
        """The packet of TCP, with its header; short frames are filled up, which is left out."""
        end = 14 + int.from_bytes(self.data[16:18], "big")
        return self.data[14 + (self.data[14] & 15) * 4 : end]

    @property
    def payload(self) -> bytes:
        """Of TCP."""
        return self.transport[(self.transport[12] >> 4) * 4 :]

    def _read_end(self, address: int, port: int) -> tuple[str, int]:
        number = int.from_bytes(self.transport[port : port + 2], "big")
        return ".".join(map(str, self.data[address : address + 4])), number


class BridgedNetwork:
    """The bridge, its namespaces by name, and the planes in them. `folder` gets homes and captures."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.namespaces: dict[str, Namespace] = {}
        self.planes: dict[str, NamespacePlane] = {}
        self.accounts: FirstAccounts | None = None
        self.hub = Namespace()
        self.capture: subprocess.Popen | None = None
        try:
            self.hub.configure("link", "add", "bridge0", "type", "bridge")
            self.hub.configure("address", "add", f"{HUB_ADDRESS}/24", "dev", "bridge0")
            self.hub.configure("link", "set", "bridge0", "addrgenmode", "none", "up")
            self.capture = self.hub.start(sys.executable, "-I", CAPTURE, folder, stdout=subprocess.PIPE)
            assert self.capture.stdout.readline() == b"ready\n"
        except BaseException:
            self.close()
            raise

    def add_namespace(self, name: str, *, address: str = "") -> Namespace:
        """A namespace with one way out, the bridge; `name` has at most 15 characters, for its interface has it too."""
        address = address or self.choose_address(name)
        space = self.namespaces[name] = Namespace()
        space.configure("link", "add", "lan0", "type", "veth", "peer", "name", name, "netns", self.hub.pid)
        space.configure("address", "add", f"{address}/24", "dev", "lan0")
        self.hub.configure("link", "set", "dev", name, "master", "bridge0", "addrgenmode", "none", "up")
        space.configure("link", "set", "lan0", "addrgenmode", "none", "up")
        return space

    def choose_address(self, name: str) -> str:
        """The address of a namespace of this name, before or after it is added."""
        names = [*self.namespaces] if name in self.namespaces else [*self.namespaces, name]
        return f"{NETWORK}.{names.index(name) + 1}"

    def start_planes(
        self, *names: str, settings: Mapping[str, Mapping[str, str]] | None = None, **common: str
    ) -> list[NamespacePlane]:
        """A running plane for each name, started at once. `settings`: of one plane by its name; `common`: of all."""
        for name in names:
            if name not in self.namespaces:
                self.add_namespace(name)
        accounts = self.prepare_template()

        def start(name: str) -> NamespacePlane:
            chosen = {**common, **(settings or {}).get(name, {})}
            home = Path(shutil.copytree(self.folder / "template", self.folder / name))
            where = (self.choose_address(name), self.namespaces[name])
            plane = self.planes[name] = NamespacePlane(name, *where, home, accounts, **chosen)
            return plane

        with ThreadPoolExecutor(len(names)) as threads:
            return list(threads.map(start, names))

    def prepare_template(self) -> FirstAccounts:
        """A home that has not run; each plane starts from a copy, so people and first tokens are the same on all."""
        if self.accounts is None:
            template = self.folder / "template"
            template.mkdir(mode=0o700)
            self.accounts = prepare_home(environment_of(template))
        return self.accounts

    def read_frames(self, name: str) -> list[Frame]:
        """What has been sent from the namespace so far, in order; the frames that this method sends itself left out."""
        marker, path = build_marker(), self.folder / f"{name}.pcap"
        self.namespaces[name].call(send_frame, marker)
        await_that(lambda: self.is_capturing() and path.exists() and marker in path.read_bytes(), pause=0.01)
        data, frames, start = path.read_bytes(), [], 24
        while not frames or frames[-1].data != marker:  # behind it one may be half written
            size = int.from_bytes(data[start + 8 : start + 12], "little")
            frames.append(Frame(data[start + 16 : start + 16 + size]))
            start += 16 + size
        return [frame for frame in frames if frame.kind != MARKER_TYPE]

    def is_capturing(self) -> bool:
        """True. AssertionError where the capture has ended: frames were lost."""
        assert self.capture.poll() is None, "the capture has ended"
        return True

    def close(self) -> None:
        """End planes and namespaces, whatever has happened to them; a fault of one keeps none of the others."""
        with ExitStack() as stack:
            for space in (self.hub, *self.namespaces.values()):
                stack.callback(space.close)
            if self.capture is not None:
                stack.callback(self.capture.communicate)
                stack.callback(self.capture.kill)
            for plane in self.planes.values():
                stack.callback(plane.kill_everything)


def build_marker() -> bytes:
    return bytes(12) + MARKER_TYPE.to_bytes(2, "big") + secrets.token_bytes(46)


def send_frame(data: bytes) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as card:
        card.bind(("lan0", 0))
        card.send(data)


@contextmanager
def open_network(folder: Path) -> Iterator[BridgedNetwork]:
    """An empty network, which is taken down at the end."""
    network = BridgedNetwork(folder)
    try:
        yield network
    finally:
        network.close()


def await_that(condition: Callable[[], T], *, seconds: float = PATIENCE, pause: float = 0.1) -> T:
    """What the condition returns once it is true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {seconds:g} s")
        time.sleep(pause)
    return value
