"""Keep what is collected for a run out of the garbage collector: it lives until the end.

A process that has imported ten thousand tests holds millions of objects, and each full collection looks at every one.
That took a quarter of the processor time of collecting the tests, and later a second for each collection that a test
asks for, as the engine does between the forms of a model whose memory it measures (deepseek/quantize).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect the tests without collections of garbage, and set aside what there is now."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
