"""The command ``deepseek serve``: one model, one process, one port."""

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from deepseek.job import EngineError

FAILED, INTERRUPTED = 1, 130
GRACE_SECONDS = 5
"""Requests that run when the service is told to stop may finish for so long; container engines wait for 10 seconds."""


def serve_model(words: Sequence[str]) -> int:
    """Serve until a signal says to stop. Raises EngineError for a model or a flag at fault."""
    arguments = _build_parser().parse_args(words)
    try:
        import uvicorn

        from deepseek.serve.choice import build_service
    except ModuleNotFoundError as error:
        raise _build_not_installed_error(error) from error
    import torch

    torch.set_num_threads(arguments.threads)
    app, manifest = build_service(arguments.model_dir, max_rows=arguments.max_rows, at_once=os.cpu_count() or 1)
    try:
        listener = open_listener(arguments.host, arguments.port)
    except OSError as error:
        where = f"{arguments.host} port {arguments.port}"
        why = (error.strerror or str(error)).partition(" (while")[0]
        print(f"deepseek: cannot listen on {where}: {why}", file=sys.stderr)
        return FAILED
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
    variant, task = manifest.variant, manifest.task
    kind = "model of entities" if task == "entities" else task
    announcement = f"deepseek: serving {variant}, a {kind}, on {_format_address(listener)}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Say where it is once it listens to signals too: one may come as soon as somebody has read it."""
            await super().startup(sockets)
            print(announcement, flush=True)

    try:
        with listener:
            Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        print("deepseek: stopped", file=sys.stderr)
    return 0


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    # asyncio sets this on its own sockets only. Without it an answer's body waits for the client to acknowledge the
    # head, which a client delays by 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """uvicorn logs a trace of each request that it ends at a stop, after a line that says how many it ends."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _format_address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepseek serve",
        description='Answer POST /predict with {"features": [...]} by {"prediction": [...]}: one example, or several.',
        allow_abbrev=False,
    )
    words = "the folder of a model, as `deepseek train`, `quantize` or `compile` makes it"
    parser.add_argument("model_dir", metavar="MODEL_DIR", type=Path, help=words)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    words = "port to listen on; 0 takes a free one and prints it (default: %(default)s)"
    parser.add_argument("--port", type=_between(0, 65535), default=8080, help=words)
    words = "processor threads of one prediction; a compiled model brings its own number (default: %(default)s)"
    parser.add_argument("--threads", type=_between(1, 256), default=1, help=words)
    words = "rows of one request (default: %(default)s)"
    parser.add_argument("--max-rows", type=_between(1, 1_000_000), default=4096, metavar="ROWS", help=words)
    return parser


class _between:
    """A whole number from `low` to `high`, for argparse."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def __call__(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and self.low <= int(text) <= self.high):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {self.low} to {self.high}")
        return int(text)


def _build_not_installed_error(error: ModuleNotFoundError) -> EngineError:
    return EngineError(
        "package_missing",
        "Serving needs the packages fastapi and uvicorn.",
        field="deepseek serve",
        value=f"{error.name} is not installed",
        limit="fastapi and uvicorn",
        hint="Install them: python -m pip install fastapi uvicorn",
    )
