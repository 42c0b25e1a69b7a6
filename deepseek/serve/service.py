"""A model over HTTP: ``POST /predict`` as the source text has it (4.3), and what a service needs beside it.

The service answers the addresses of predictions itself, before FastAPI's router sees them: what the router and its
request objects cost is more than a small model does. FastAPI answers everything else.
"""

import json
import logging
import time
from collections.abc import Awaitable, Callable, Sized
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deepseek.job import EngineError
from deepseek.serve.bodies import ROOM_BYTES, BodyBudget, BodyReader, build_overloaded_error
from deepseek.serve.loaded_model import LoadedModel, Prediction
from deepseek.serve.options import ServeOptions
from deepseek.serve.recorder import PredictionRecorder
from deepseek.serve.repository import ModelRepository, ServedModel
from deepseek.serve.responses import (
    Answer,
    Receive,
    Refused,
    Scope,
    Send,
    build_defect,
    build_error,
    build_refusal,
    send_answer,
)
from deepseek.serve.tokens import TokenSet

Handle = Callable[[Scope, Receive, Send], Awaitable[None]]
PATHS = "POST /predict, GET /healthz, GET /model, GET /openapi.json"
OPEN_PATHS = frozenset(("/healthz", "/v2/health/live", "/v2/health/ready"))
"""What is answered without a token."""
ID_HEADER = b"x-prediction-id"
"""Names a prediction that is recorded; its label is to come under the same id."""
logger = logging.getLogger("deepseek.serve")


class Service(FastAPI):
    """The ASGI application. `requests`: the tasks of all requests that were begun; they and `connections` are those of
    the server."""

    def __init__(
        self,
        repository: ModelRepository,
        options: ServeOptions,
        *,
        tokens: TokenSet | None = None,
        recorder: PredictionRecorder | None = None,
    ) -> None:
        super().__init__(title="deepseek serve", docs_url=None, redoc_url=None, redirect_slashes=False)
        self.repository, self.limits, self.tokens, self.recorder = repository, options, tokens, recorder
        self.budget = BodyBudget(options.buffered_bytes)
        self.bodies = BodyReader(self.budget)
        self.requests: Sized = ()
        self.connections: Sized = ()
        self.stopping = False
        self.count_ended: Callable[[], int] = lambda: 0
        """Connections that were ended because they were too slow."""
        self._handlers: dict[str, Handle] = {}
        """Path of a POST -> what answers it."""
        self.add_exception_handler(HTTPException, _refuse_http)
        self.add_exception_handler(Exception, _report_defect)
        self._add_predict("/predict", repository.default)
        for served in repository:
            self._add_predict(f"/models/{served.name}/predict", served)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await super().__call__(scope, receive, send)
        path: str = scope["path"]
        if len(self.connections) > self.limits.max_connections:
            return await send_answer(send, self._build_crowded(path))
        if self.tokens is not None and path not in OPEN_PATHS and (refused := self.tokens.check(scope["headers"])):
            build = build_error if path.startswith("/v2") else build_refusal
            return await send_answer(send, build(refused))
        if scope["method"] == "POST" and (handle := self._handlers.get(path)) is not None:
            return await handle(scope, receive, send)
        return await super().__call__(scope, receive, send)

    def find_body_limit(self, path: str) -> int:
        """Bytes of the longest body that the path takes; of any model where it names none that is known."""
        parts = path.split("/")
        labelled = [item for item in self.repository if item.name in parts]
        if path == "/predict":
            labelled = [self.repository.default]
        return max(item.current.handler.body_limit for item in labelled or self.repository) + ROOM_BYTES

    def _build_crowded(self, path: str) -> Answer:
        refused = Refused(build_overloaded_error("connections", self.limits.max_connections), retry_after=1)
        status, headers, body = (build_error if path.startswith("/v2") else build_refusal)(refused)
        return Answer(status, [*headers, (b"connection", b"close")], body)

    def add_handler(self, path: str, handle: Handle) -> None:
        """Let `handle` answer each POST to `path`, before the router."""
        self._handlers[path] = handle

    def is_alone(self) -> bool:
        """Whether no other request was begun."""
        return len(self.requests) <= 1

    def _add_predict(self, path: str, served: ServedModel) -> None:
        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            await self._predict(served, scope, receive, send)

        async def refuse_method(request: Request) -> Response:
            raise HTTPException(405, headers={"Allow": "POST"})

        self.add_handler(path, handle)
        self.add_route(path, refuse_method, methods=["GET", "HEAD", "PUT", "PATCH", "DELETE"], include_in_schema=False)

    async def _predict(self, served: ServedModel, scope: Scope, receive: Receive, send: Send) -> None:
        begin = time.perf_counter()
        model, reserved = served.current, 0
        prediction: Prediction | None = None
        key: str | None = None
        try:
            data, reserved = await self.bodies.read(receive, scope["headers"], model.handler.body_limit)
            prediction = await model.answer(data, len(self.requests) <= 1)
            answer = Answer(200, model.headers, prediction.body)
            if self.recorder is not None and (
                key := self.recorder.choose_id(scope["headers"], prediction.inputs.total)
            ):
                answer = Answer(200, [*model.headers, (ID_HEADER, key.encode())], prediction.body)
        except Exception as error:  # noqa: BLE001  it is logged, and answered
            answer = build_refusal(self.as_refused(served, error))
        try:
            await send_answer(send, answer)
        finally:
            if reserved:
                self.budget.held -= reserved
        seconds = time.perf_counter() - begin
        served.metrics.record_answer("predict", answer.status, seconds)
        if prediction is not None:
            self.record(served, model, prediction, key, seconds)

    def as_refused(self, served: ServedModel, error: Exception) -> Refused:
        """Why a request failed, for its caller; a defect goes into the log."""
        if isinstance(error, EngineError):
            return Refused(error)
        if isinstance(error, Refused):
            return error
        logger.error("%s: a request failed", served.name, exc_info=error)
        return Refused(build_defect())

    def record(
        self, served: ServedModel, model: LoadedModel, prediction: Prediction, key: str | None, seconds: float
    ) -> None:
        """Count the rows of an answer, and pass it on to the recorder (under `key`) and to a shadow."""
        served.metrics.rows += prediction.inputs.total
        if key is not None and self.recorder is not None:
            self.recorder.add(key, model, prediction, seconds)
        if served.shadow is not None:
            served.shadow.add(key, model, prediction)

    def openapi(self) -> dict[str, Any]:
        """The interface: what FastAPI knows, and the addresses that it does not."""
        document = super().openapi()
        paths = document["paths"]
        for served in self.repository:
            about = served.current.handler.describe()
            if served is self.repository.default:
                paths.setdefault("/predict", {"post": about})
            if len(self.repository) > 1:
                paths.setdefault(f"/models/{served.name}/predict", {"post": about})
        return document


def build_json_response(document: Any, status: int = 200) -> Response:
    """A document as JSON."""
    return Response(json.dumps(document, ensure_ascii=False), status, media_type="application/json")


def build_response(answer: Answer) -> Response:
    """An answer for FastAPI to send."""
    response = Response(answer.body, answer.status)
    response.raw_headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    return response


def _refuse_http(request: Request, error: Exception) -> Response:
    """A path or a method that does not exist."""
    assert isinstance(error, HTTPException)  # noqa: S101  what it is registered for
    path = request.url.path
    requested = f"{request.method} {path[:100]}"
    if error.status_code == 405:
        code, message = "method_not_allowed", f"{requested} is not possible: this path takes another method."
    else:
        code, message = "not_found", f"There is no {requested}."
    allowed = (error.headers or {}).get("Allow")
    refusal = EngineError(code, message, limit=allowed, hint=f"This service has {PATHS}.")
    build = build_error if path.startswith("/v2") else build_refusal
    return Response(build(Refused(refusal)).body, error.status_code, error.headers, "application/json")


def _report_defect(request: Request, error: Exception) -> Response:
    """A defect: the log gets the trace, from the server around this; the caller only learns that there is one."""
    return build_response(build_refusal(Refused(build_defect())))
