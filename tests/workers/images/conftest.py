from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.workers.images.builder import LayoutWriter, build_layer


@pytest.fixture
def layout(tmp_path) -> LayoutWriter:
    return LayoutWriter(tmp_path / "layout")


@pytest.fixture
def write_image(tmp_path) -> Callable[..., Path]:
    """write_image(*layers of entries) -> the folder of a layout with one image."""
    written: list[Path] = []

    def write(*layers: Sequence[tuple[Any, ...]], compress: bool = False, **how: Any) -> Path:
        writer = LayoutWriter(tmp_path / f"layout-{len(written)}")
        packed = [build_layer(entries) for entries in layers]
        packed = [gzip.compress(data, 1) for data in packed] if compress else packed
        writer.add_image(packed, kind="+gzip" if compress else "", **how)
        written.append(writer.finish())
        return written[-1]

    return write
