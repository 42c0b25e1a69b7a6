"""Tasks and their results on the way between nodes: each path in them becomes that of the same file on the other side.

Dask pickles what it carries, between processes that have shown a certificate of the attempt. Here the pickling is done
before, to replace paths: of an input, which every node has under a path of its own, and of the scratch folder, whose
files travel by `FileClient`. So a step of a plan needs no shared folder, and knows nothing of nodes.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SCRATCH = "scratch"
Name = tuple[str, str]
"""The root, ``scratch`` or ``input/SLOT``, and the path below it."""


class Roots:
    """Where this side has the scratch folder and the inputs."""

    def __init__(self, scratch: Path, inputs: Mapping[str, Path]) -> None:
        self.paths = {SCRATCH: scratch.absolute()}
        self.paths |= {f"input/{slot}": path.absolute() for slot, path in inputs.items()}

    def name(self, path: Path) -> Name:
        """What a path is called on every side. RuntimeError where other nodes could not have it."""
        place = path.absolute()
        for root, top in self.paths.items():
            if place.is_relative_to(top):
                relative = place.relative_to(top).as_posix()
                return root, "" if relative == "." else relative
        raise RuntimeError(f"other nodes do not see {path}")

    def locate(self, name: Name) -> Path:
        """The path on this side of what is called so."""
        root, relative = name
        return self.paths[root] / relative if relative else self.paths[root]


OnPath = Callable[[Name], None]
"""Called with the name of each path, before it is used."""


def pack(value: Any, roots: Roots, on_path: OnPath = lambda name: None) -> bytes:
    """`value` in bytes, its paths replaced by names."""
    target = io.BytesIO()
    _Pickler(target, roots, on_path).dump(value)
    return target.getvalue()


def unpack(data: bytes, roots: Roots, on_path: OnPath = lambda name: None) -> Any:
    """What `pack` was given on another side, with the paths of this one."""
    return _Unpickler(io.BytesIO(data), roots, on_path).load()


class _Pickler(pickle.Pickler):
    def __init__(self, target: io.BytesIO, roots: Roots, on_path: OnPath) -> None:
        super().__init__(target, pickle.HIGHEST_PROTOCOL)
        self.roots, self.on_path = roots, on_path

    def persistent_id(self, item: Any) -> Name | None:
        if not isinstance(item, Path):
            return None
        name = self.roots.name(item)
        self.on_path(name)
        return name


class _Unpickler(pickle.Unpickler):
    def __init__(self, source: io.BytesIO, roots: Roots, on_path: OnPath) -> None:
        super().__init__(source)
        self.roots, self.on_path = roots, on_path

    def persistent_load(self, name: Name) -> Path:
        self.on_path(name)
        return self.roots.locate(name)
