"""A model over HTTP: ``POST /predict`` as the source text has it (4.3), and what a service needs beside it.

Every answer is JSON, and every refusal has the plane's shape: {"error": {code, message, field, limit, hint, errors}}.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from deepseek.entities.predictor import EntitiesPredictor
from deepseek.job import EngineError
from deepseek.models.predictor import Predictor
from deepseek.serve.images import MOST_BODY_BYTES, build_image_schema, count_most_images, read_images
from deepseek.serve.messages import compute_body_limit, encode_errors, encode_prediction, predict_schema, read_rows
from deepseek.serve.texts import build_texts_schema, compute_text_limit, encode_spans, read_request_texts

INLINE_BYTES = 16 << 10
INLINE_SECONDS = 500e-6
"""A request whose body is this short, to a model that answers one row this fast, is answered in the event loop: going
to a thread and back costs 50 microseconds on an idle machine, twice what a small model needs. Any other request goes
to a thread, so that it holds up nobody."""

DRAIN_BYTES = 256 << 20
"""A body above the limit is read on to its end, and forgotten, as long as it stays below this: most clients write all
of it before they read, and would see a broken connection instead of the answer."""
PROBES = 5
STATUS = {"malformed_json": 400, "body_cut_off": 400, "too_large": 413, "too_many_rows": 413}
"""HTTP status of a refusal by its code; 422 where it is not here."""
Endpoint = Callable[[Request], Awaitable[Response]]
PATHS = "POST /predict, GET /healthz, GET /model, GET /openapi.json"


class Service(FastAPI):
    """FastAPI, with /predict as a plain route of Starlette: what FastAPI does around a function that takes the request
    as it is costs as much as a small model. So what OpenAPI says of it is written by hand."""

    def __init__(self, predict: Endpoint, about: dict[str, Any]) -> None:
        super().__init__(title="deepseek serve", docs_url=None, redoc_url=None, redirect_slashes=False)
        self._about = about
        self.add_route("/predict", predict, methods=["POST"])
        self.add_exception_handler(HTTPException, _refuse_http)
        self.add_exception_handler(ClientDisconnect, _refuse_cut_off)
        self.add_exception_handler(Exception, _report_defect)

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["paths"].setdefault("/predict", {"post": self._about})
        return document


def create_app(predictor: Predictor | EntitiesPredictor, *, max_rows: int = 4096, at_once: int = 1) -> FastAPI:
    """The service of one model. `at_once`: requests that may be computed at a time beside the event loop."""
    if isinstance(predictor, EntitiesPredictor):
        quick, limit = False, compute_text_limit(max_rows)
        answer, about = partial(_handle_texts, predictor, max_rows), build_texts_schema(predictor.architecture.labels)
    elif predictor.manifest.architecture.type == "image":
        max_rows = count_most_images(predictor, max_rows)
        quick = probe(predictor) <= INLINE_SECONDS
        limit = min(MOST_BODY_BYTES, compute_body_limit(predictor.inputs, max_rows))
        answer, about = partial(_handle_prediction, predictor, max_rows), build_image_schema(predictor)
    else:
        quick = probe(predictor) <= INLINE_SECONDS
        limit = compute_body_limit(predictor.inputs, max_rows, len(predictor.codes))
        answer, about = partial(_handle_prediction, predictor, max_rows), predict_schema(predictor)
    limiter = CapacityLimiter(at_once)
    document = predictor.manifest.to_json().encode()

    async def predict(request: Request) -> Response:
        try:
            body = await read_body(request, limit)
        except EngineError as error:
            return refuse([error])
        if quick and len(body) <= INLINE_BYTES:
            return answer(body)
        return await to_thread.run_sync(answer, body, limiter=limiter)

    app = Service(predict, about)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/model")
    async def model() -> Response:
        return Response(document, media_type="application/json")

    return app


def probe(predictor: Predictor) -> float:
    """Ask the model for one row a few times, and say how many seconds the quickest took.

    The first calls of a TorchScript model compile it; the first caller need not wait for that.
    """
    rows, durations = np.zeros((1, *predictor.shape), np.float32), []
    for _ in range(PROBES):
        start = time.perf_counter()
        predictor.predict(rows)
        durations.append(time.perf_counter() - start)
    return min(durations)


def _handle_prediction(predictor: Predictor, max_rows: int, body: bytes) -> Response:
    """Body to response: all that one prediction costs."""
    if predictor.manifest.architecture.type == "image":
        rows, single, faults = read_images(body, shape=predictor.shape, max_rows=max_rows)
    else:
        rows, single, faults = read_rows(body, width=predictor.inputs, max_rows=max_rows, codes=predictor.codes)
    if faults:
        return refuse(faults)
    outputs = predictor.predict(rows)
    try:
        return Response(encode_prediction(outputs, single), media_type="application/json")
    except EngineError as error:
        return refuse([error])


def _handle_texts(predictor: EntitiesPredictor, max_rows: int, body: bytes) -> Response:
    """As `_handle_prediction`, of a model that takes texts."""
    texts, single, faults = read_request_texts(body, max_rows=max_rows)
    if faults:
        return refuse(faults)
    return Response(encode_spans(texts, predictor.predict(texts), single), media_type="application/json")


async def read_body(request: Request, limit: int) -> bytes:
    """The body, of at most `limit` bytes, whether its length was announced or not."""
    announced = request.headers.get("content-length", "0")
    if (
        announced.isdecimal()
        and int(announced) > limit
        and ("expect" in request.headers or int(announced) > DRAIN_BYTES)
    ):
        raise _build_too_large_error(limit)
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            body += chunk
        elif size > DRAIN_BYTES:
            break
    if size > limit:
        raise _build_too_large_error(limit)
    return bytes(body)


def _build_too_large_error(limit: int) -> EngineError:
    return EngineError(
        "too_large",
        f"The body is larger than {limit} bytes.",
        limit=str(limit),
        hint="Send fewer rows at once.",
    )


def refuse(errors: Sequence[EngineError]) -> Response:
    status = STATUS.get(errors[0].code, 422)
    headers = {"connection": "close"} if errors[0].code == "too_large" else None  # its rest is no next request
    return Response(encode_errors(errors), status, headers, "application/json")


def _refuse_http(request: Request, error: Exception) -> Response:
    """A path or a method that does not exist."""
    assert isinstance(error, HTTPException)  # noqa: S101  what it is registered for
    requested = f"{request.method} {request.url.path[:100]}"
    if error.status_code == 405:
        code, message = "method_not_allowed", f"{requested} is not possible: this path takes another method."
    else:
        code, message = "not_found", f"There is no {requested}."
    allowed = (error.headers or {}).get("Allow")
    refusal = EngineError(code, message, limit=allowed, hint=f"This service has {PATHS}.")
    return Response(encode_errors([refusal]), error.status_code, error.headers, "application/json")


def _refuse_cut_off(request: Request, error: Exception) -> Response:
    refusal = EngineError("body_cut_off", "The transfer of the body broke off.", hint="Send the request again.")
    return Response(encode_errors([refusal]), 400, media_type="application/json")


def _report_defect(request: Request, error: Exception) -> Response:
    """A defect: the log gets the trace, from the server around this; the caller only learns that there is one."""
    refusal = EngineError("server_error", "The service failed.", hint="Its log says more.")
    return Response(encode_errors([refusal]), 500, media_type="application/json")
