"""An application that does nothing, which benchmarks/fleet.py runs under the plane's gunicorn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import controlplane.wsgi  # noqa: F401  the plane's gunicorn looks at its database before it serves


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("304 Not Modified", [("ETag", '"nothing"'), ("X-Content-Type-Options", "nosniff")])
    return [b""]
