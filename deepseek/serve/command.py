"""The command ``deepseek serve``: models, one process, one port."""

import logging
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepseek.job import EngineError
from deepseek.serve.flags import build_parser, read_options, read_sources

if TYPE_CHECKING:
    from deepseek.serve.loaded_model import LoadedModel
    from deepseek.serve.recorder import Kept

FAILED, INTERRUPTED = 1, 130


def serve_model(words: Sequence[str]) -> int:
    """Serve until a signal says to stop. Raises EngineError for a model or a flag at fault."""
    arguments = build_parser().parse_args(words)
    sources, options = read_sources(arguments.models), read_options(arguments)
    try:
        import uvicorn  # noqa: F401  first, so that the error names it

        from deepseek.serve.access import AccessFiles
        from deepseek.serve.admin import check_socket_path, create_admin_app
        from deepseek.serve.app import create_app, create_executor
        from deepseek.serve.labels import LabelFolder, add_labels
        from deepseek.serve.loading import load_model
        from deepseek.serve.recorder import PredictionRecorder
        from deepseek.serve.server import Server, build_config, end_threads
        from deepseek.serve.swapping import ModelSwapper
    except ModuleNotFoundError as error:
        raise _build_not_installed_error(error) from error
    access = AccessFiles(arguments.token_file, arguments.certificate, arguments.key)
    if arguments.admin_socket:
        check_socket_path(arguments.admin_socket)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    executor = create_executor(options)
    models = [load_model(source, options, executor) for source in sources]
    try:
        if arguments.listen_descriptor is None:
            listener = open_listener(arguments.host, arguments.port)
        else:
            listener = take_listener(arguments.listen_descriptor)
    except OSError as error:
        where = f"{arguments.host} port {arguments.port}"
        why = (error.strerror or str(error)).partition(" (while")[0]
        print(f"deepseek: cannot listen on {where}: {why}", file=sys.stderr)
        return FAILED
    recorder = None
    if arguments.record:
        keep: Kept = "digest" if arguments.record_digests else "features"
        limit = arguments.record_limit << 20
        recorder = PredictionRecorder(arguments.record, arguments.record_rate, keep=keep, limit_bytes=limit)
    app = create_app(models, options, tokens=access.tokens, recorder=recorder)
    if arguments.labels:
        add_labels(app, LabelFolder(arguments.labels))
    admin, executors = None, [executor]
    if arguments.admin_socket:
        swapper = ModelSwapper(app.repository, options, executor, recorder)
        admin = (create_admin_app(app, swapper, access.reload), arguments.admin_socket)
        executors.append(swapper.loader)
    where = _format_address(listener, "https" if access.context else "http")
    server = Server(build_config(app, access.context), app, f"{_describe(models)}, on {where}", admin)
    code = 0
    try:
        with listener:
            server.run(sockets=[listener])
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else FAILED
    print("deepseek: stopped", file=sys.stderr)
    end_threads(executors, code)
    return code


def open_listener(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return send_at_once(socket.create_server((host, port), family=family, backlog=1024))


def take_listener(descriptor: int) -> socket.socket:
    """The listening socket that this process was given. Raises EngineError ``not_a_listener``."""
    try:
        listener = socket.socket(fileno=descriptor)
        if listener.family not in (socket.AF_INET, socket.AF_INET6):
            raise OSError(0, "it is no socket of TCP")
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(0, "it does not listen")
    except OSError as error:
        raise EngineError(
            "not_a_listener",
            f"Descriptor {descriptor} is no socket that listens: {error.strerror}.",
            field="--listen-descriptor",
            value=str(descriptor),
            limit="an open TCP socket that listens",
            hint="Let the process that starts this service pass one on; people give --host and --port.",
        ) from error
    return send_at_once(listener)


def send_at_once(listener: socket.socket) -> socket.socket:
    """Let the connections of a listener send small packets at once."""
    # asyncio sets this on its own sockets only. Without it an answer's body waits for the client to acknowledge the
    # head, which a client delays by 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _describe(models: "Sequence[LoadedModel]") -> str:
    if len(models) > 1:
        return f"deepseek: serving {len(models)} models ({', '.join(model.name for model in models)})"
    manifest = models[0].manifest
    kind = "model of entities" if manifest.task == "entities" else manifest.task
    return f"deepseek: serving {manifest.variant}, a {kind}"


def _format_address(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _build_not_installed_error(error: ModuleNotFoundError) -> EngineError:
    return EngineError(
        "package_missing",
        "Serving needs the packages fastapi and uvicorn.",
        field="deepseek serve",
        value=f"{error.name} is not installed",
        limit="fastapi and uvicorn",
        hint="Install them: python -m pip install fastapi uvicorn",
    )
