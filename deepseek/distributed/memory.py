"""A float32 vector in anonymous memory that another process of the same user and host can map.

Between a worker and a server on one host the stream then carries headers only, and a vector is copied once in place of
eight times. Linux only; where it cannot be opened, as between two containers, vectors go through the stream.
"""

import fcntl
import mmap
import os
import re
import secrets
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

_SEALS = 0x0002 | 0x0004  # F_SEAL_SHRINK, F_SEAL_GROW: a mapping never outlasts the memory behind it
_NAME = re.compile(r"parameter-server-[0-9a-f]{32}")


class SharedVector:
    """Memory of this process. `claim` says where another process finds it."""

    def __init__(self, size: int) -> None:
        """Raises OSError where there is no such memory."""
        if sys.platform != "linux":
            raise OSError("There is no memfd on this system.")
        name = f"parameter-server-{secrets.token_hex(16)}"
        self._descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.posix_fallocate(self._descriptor, 0, size * 4)
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, _SEALS)
        self.tensor = _map(self._descriptor, size)
        self.claim: dict[str, Any] = {"pid": os.getpid(), "descriptor": self._descriptor, "name": name}

    def __del__(self) -> None:
        descriptor = getattr(self, "_descriptor", None)
        if descriptor is not None:
            os.close(descriptor)


def share_vector(size: int) -> SharedVector | None:
    """Memory for a vector; None where there is none of this kind, or not enough."""
    try:
        return SharedVector(size)
    except OSError:
        return None


def map_claim(claim: dict[str, Any], size: int) -> Tensor:
    """The memory that another process claims, with at least `size` values. Raises OSError if it is not there.

    The number of a process can be another one's in another container, so the name is compared; the seals keep the
    owner from making it smaller under the reader.
    """
    pid, number, name = claim.get("pid"), claim.get("descriptor"), claim.get("name")
    if not (isinstance(pid, int) and isinstance(number, int) and isinstance(name, str) and _NAME.fullmatch(name)):
        raise OSError("This names no memory.")
    path = f"/proc/{pid}/fd/{number}"
    if os.readlink(path) != f"/memfd:{name} (deleted)":
        raise OSError("The memory is another one.")
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS or os.fstat(descriptor).st_size < size * 4:
            raise OSError("The memory is not sealed or too small.")
        return _map(descriptor, size)
    finally:
        os.close(descriptor)


def _map(descriptor: int, size: int) -> Tensor:
    return torch.from_numpy(np.frombuffer(mmap.mmap(descriptor, size * 4), dtype=np.float32, count=size))
