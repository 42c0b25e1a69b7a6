"""The control of a running service, on a Unix socket in a private folder: status, swaps, shadows and tokens.

Whoever may write to that folder may replace models; there is no other check.
"""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from deepseek.job import EngineError
from deepseek.serve.app import describe_model
from deepseek.serve.repository import ServedModel
from deepseek.serve.responses import Refused, build_refusal
from deepseek.serve.service import Service, build_json_response, build_response
from deepseek.serve.swapping import ModelSwapper

MAX_PATH_BYTES = 107
"""Of a Unix socket's path (unix(7))."""
MAX_BODY_BYTES = 64 << 10


class _VersionBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    folder: str = Field(pattern=r"^/", max_length=4096)
    version: str = Field("", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")


_Body = TypeVar("_Body", bound=_VersionBody)


class _ShadowBody(_VersionBody):
    rate: Annotated[float, Field(gt=0, le=1, strict=True)] = 1.0


def create_admin_app(
    service: Service, swapper: ModelSwapper, reload_access: Callable[[], None] = lambda: None
) -> FastAPI:
    """The application behind the socket. `reload_access`: reads the files of tokens and certificate again."""
    app = FastAPI(title="deepseek serve, control", docs_url=None, redoc_url=None, redirect_slashes=False)
    started = time.time()

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)  # noqa: S101  what it is registered for
        return build_response(build_refusal(error))

    app.add_exception_handler(Refused, refuse)

    @app.get("/admin/status")
    async def status() -> Response:
        models = [describe_served(served) for served in service.repository]
        document: dict[str, Any] = {"pid": os.getpid(), "started": started, "stopping": service.stopping}
        if service.recorder is not None:
            document["recorder"] = {"recorded": service.recorder.recorded, "dropped": service.recorder.dropped}
        return build_json_response({**document, "models": models})

    async def swap(request: Request) -> Response:
        body = await _read_body(request, _VersionBody)
        return build_json_response(await swapper.swap(request.path_params["name"], Path(body.folder), body.version))

    async def start_shadow(request: Request) -> Response:
        body = await _read_body(request, _ShadowBody)
        name = request.path_params["name"]
        return build_json_response(await swapper.start_shadow(name, Path(body.folder), body.version, body.rate))

    async def stop_shadow(request: Request) -> Response:
        return build_json_response({"shadow": swapper.stop_shadow(request.path_params["name"])})

    @app.post("/admin/access")
    async def read_access_again() -> Response:
        try:
            reload_access()
        except EngineError as error:
            raise Refused(error) from error
        return build_json_response({"access": "read"})

    app.add_route("/admin/models/{name}", swap, methods=["PUT"])
    app.add_route("/admin/models/{name}/shadow", start_shadow, methods=["PUT"])
    app.add_route("/admin/models/{name}/shadow", stop_shadow, methods=["DELETE"])
    return app


def describe_served(served: ServedModel) -> dict[str, Any]:
    """One name: its version, its counts, its shadow."""
    metrics, answers = served.metrics, served.metrics.answers
    return {
        **describe_model(served.current),
        "folder": str(served.current.folder or ""),
        "answered": sum(count for (_, code), count in answers.items() if code < 400),
        "refused": sum(count for (_, code), count in answers.items() if 400 <= code < 500),
        "failed": sum(count for (_, code), count in answers.items() if code >= 500),
        "rows": metrics.rows,
        "seconds": {"bounds": list(metrics.seconds.bounds), "counts": list(metrics.seconds.counts)},
        "waiting": served.current.waiting,
        "swaps": served.swaps,
        "refused_swaps": served.refused_swaps,
        "last_refusal": served.last_refusal,
        "shadow": served.shadow.describe() if served.shadow else None,
    }


def check_socket_path(path: Path) -> None:
    """Raise EngineError ``socket_unsafe`` unless the socket would lie in a folder that is its owner's alone."""
    folder, why = path.parent, ""
    try:
        about = folder.stat()
    except OSError as error:
        why = f"{folder}: {error.strerror}"
    else:
        if about.st_uid != os.geteuid() or about.st_mode & 0o077:
            why = f"others may enter {folder}"
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        why = f"the path is longer than {MAX_PATH_BYTES} bytes"
    if not why and path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        why = f"{path} is no socket"
    if why:
        raise EngineError(
            "socket_unsafe",
            f"The control socket cannot be made: {why}.",
            field="--admin-socket",
            value=str(path),
            limit="a path in a folder of mode 0700",
            hint="Make a folder for it: mkdir -m 700 FOLDER.",
        )


async def _read_body(request: Request, model: type[_Body]) -> _Body:
    data = await request.body()
    try:
        return model.model_validate_json(data[:MAX_BODY_BYTES])
    except ValidationError as error:
        faults = [
            EngineError(
                "invalid",
                f"{fault['msg']}.",
                field="".join(f"/{part}" for part in fault["loc"]),
                hint='Send {"folder": "/absolute/path", "version": "4"}.',
            )
            for fault in error.errors(include_url=False, include_context=False)[:20]
        ]
        raise Refused(*faults) from error
