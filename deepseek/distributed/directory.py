"""Where the processes of a fit find each other's addresses."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from deepseek.distributed.checkpoint import write_file


@dataclass(frozen=True)
class ServerAddress:
    """A Flight location, and the certificate to trust there; empty without TLS."""

    location: str
    certificate: str = ""


class Directory(Protocol):
    """Addresses of the servers by index. A server that comes back publishes a new one."""

    def publish(self, index: int, address: ServerAddress) -> None:
        """Set the address of a server."""

    def look_up(self, index: int) -> ServerAddress | None:
        """The address of a server; None if it has not published one yet."""


class FolderDirectory:
    """Addresses as files in the private folder of a fit, for processes of one host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def publish(self, index: int, address: ServerAddress) -> None:
        write_file(self._get_path(index), _dump(address))

    def look_up(self, index: int) -> ServerAddress | None:
        try:
            return _parse(self._get_path(index).read_bytes())
        except FileNotFoundError:
            return None

    def _get_path(self, index: int) -> Path:
        return self._folder / f"address-{index}.json"


class StoreDirectory:
    """Addresses in a torch store, for the ranks of a gang."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def publish(self, index: int, address: ServerAddress) -> None:
        self._store.set(f"address/{index}", _dump(address))

    def look_up(self, index: int) -> ServerAddress | None:
        key = f"address/{index}"
        return _parse(self._store.get(key)) if self._store.check([key]) else None


def wait_for_address(directory: Directory, index: int, seconds: float) -> ServerAddress | None:
    """The address of a server as soon as there is one; None after `seconds`."""
    until = time.monotonic() + seconds
    while (address := directory.look_up(index)) is None and time.monotonic() < until:
        time.sleep(0.02)
    return address


def _dump(address: ServerAddress) -> bytes:
    return json.dumps({"location": address.location, "certificate": address.certificate}).encode()


def _parse(data: bytes) -> ServerAddress:
    return ServerAddress(**json.loads(data))
