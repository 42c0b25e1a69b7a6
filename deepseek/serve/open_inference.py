"""Open Inference Protocol v2, as Triton, KServe and MLServer have it: what `tritonclient` asks for.

Refusals have the protocol's own shape, {"error": text}.
"""

import asyncio
import gzip
import time
import zlib
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from deepseek.job import EngineError
from deepseek.serve.bodies import ROOM_BYTES
from deepseek.serve.handlers import Inputs
from deepseek.serve.loaded_model import LoadedModel, Prediction
from deepseek.serve.repository import ServedModel
from deepseek.serve.responses import (
    CONTENT_TYPE,
    Answer,
    Receive,
    Refused,
    Scope,
    Send,
    build_error,
    send_answer,
)
from deepseek.serve.service import ID_HEADER, Service, build_response
from deepseek.serve.tensors import InferRequest, encode_response, parse_request

PLATFORMS = {
    "safetensors": "pytorch_safetensors",
    "torchscript": "pytorch_torchscript",
    "onnx": "onnx_onnxv1",
    "pt2": "pytorch_pt2",
    "tvm": "tvm",
}
BINARY_TYPE = (b"content-type", b"application/octet-stream")
JSON_LENGTH = b"inference-header-content-length"
INLINE_BYTES = 64 << 10
"""A longer answer is compressed in a thread."""
COMPRESSED_BYTES = 4096
"""An answer of fewer bytes is sent as it is, whatever its client accepts."""


class InferCall:
    """One request of /infer, between its body and the body of its answer."""

    def __init__(self, model: LoadedModel, json_length: int | None) -> None:
        self.model, self.json_length = model, json_length
        self.request: InferRequest | None = None
        self.answer_json_length: int | None = None

    def read(self, body: bytes) -> Inputs:
        self.request = parse_request(body, self.json_length)
        inputs = self.model.handler.read_tensors(self.request.tensors)
        if inputs.total > self.model.handler.max_rows:
            raise Refused(
                EngineError(
                    "too_many_rows",
                    f"The request has {inputs.total} rows; one may have {self.model.handler.max_rows}.",
                    field="/inputs",
                    limit=str(self.model.handler.max_rows),
                    hint="Send several requests, or start the service with a higher --max-rows.",
                )
            )
        return inputs

    def encode(self, inputs: Inputs, outputs: Any) -> bytes:
        assert self.request is not None  # noqa: S101  it was read before
        tensors = zip(self.model.handler.outputs, self.model.handler.build_tensors(inputs, outputs), strict=True)
        body, self.answer_json_length = encode_response(self.request, tensors, self.model.name, self.model.version)
        return body


def add_open_inference(service: Service) -> None:
    """Add the addresses of the protocol to `service`."""
    repository = service.repository

    @service.get("/v2")
    async def server_metadata() -> Response:
        return _build_document(
            {"name": "deepseek serve", "version": _read_package_version(), "extensions": ["binary_tensor_data"]}
        )

    @service.get("/v2/health/live")
    async def live() -> Response:
        return _build_document({"live": True})

    @service.get("/v2/health/ready")
    async def ready() -> Response:
        return _build_document({"ready": not service.stopping}, 503 if service.stopping else 200)

    def find(name: str, version_: str | None) -> tuple[ServedModel, LoadedModel]:
        served = repository.get(name)
        if served is None:
            names = ", ".join(entry.name for entry in repository)
            raise Refused(EngineError("not_found", f"There is no model {name[:100]}.", limit=names, hint=""))
        current = served.current
        if version_ is not None and version_ != current.version:
            message = f"The model {name} has no version {version_[:100]}; {current.version} is served."
            raise Refused(EngineError("not_found", message, limit=current.version))
        return served, current

    def add_model_route(path: str, describe: Callable[[LoadedModel], Mapping[str, Any]]) -> None:
        async def answer(request: Request) -> Response:
            try:
                _, model = find(request.path_params["name"], request.path_params.get("version"))
            except Refused as refused:
                return build_response(build_error(refused))
            return _build_document(describe(model))

        for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            service.add_route(prefix + path, answer, methods=["GET"])

    add_model_route("", describe_model)
    add_model_route("/ready", lambda model: {"name": model.name, "ready": not service.stopping})

    async def infer_version(request: Request) -> Response:
        try:
            served, model = find(request.path_params["name"], request.path_params.get("version"))
        except Refused as refused:
            return build_response(build_error(refused))
        return build_response(await _infer(service, served, model, request.scope, request.receive))

    service.add_route("/v2/models/{name}/infer", infer_version, methods=["POST"])
    service.add_route("/v2/models/{name}/versions/{version}/infer", infer_version, methods=["POST"])
    for served in repository:
        service.add_handler(f"/v2/models/{served.name}/infer", _build_handler(service, served))


def _build_handler(service: Service, served: ServedModel) -> Callable[[Scope, Receive, Send], Any]:
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await send_answer(send, await _infer(service, served, served.current, scope, receive))

    return handle


async def _infer(service: Service, served: ServedModel, model: LoadedModel, scope: Scope, receive: Receive) -> Answer:
    begin, reserved = time.perf_counter(), 0
    headers, key = scope["headers"], None
    prediction: Prediction | None = None
    try:
        data, reserved = await service.bodies.read(receive, headers, model.handler.body_limit + ROOM_BYTES)
        call = InferCall(model, _read_json_length(headers))
        prediction = await model.answer(data, service.is_alone(), call)
        answer = await _build_answer(call, prediction.body, headers)
        if service.recorder is not None:
            own = call.request.id if call.request else None
            key = service.recorder.choose_id(headers, prediction.inputs.total, own)
            if key:
                answer.headers.append((ID_HEADER, key.encode()))
    except Exception as error:  # noqa: BLE001  it is logged, and answered
        answer = build_error(service.as_refused(served, error))
    finally:
        if reserved:
            service.budget.held -= reserved
    seconds = time.perf_counter() - begin
    served.metrics.record_answer("v2", answer.status, seconds)
    if prediction is not None:
        service.record(served, model, prediction, key, seconds)
    return answer


async def _build_answer(call: InferCall, body: bytes, request_headers: list[tuple[bytes, bytes]]) -> Answer:
    headers = [CONTENT_TYPE if call.answer_json_length is None else BINARY_TYPE, *call.model.headers[1:]]
    if call.answer_json_length is not None:
        headers.append((JSON_LENGTH, b"%d" % call.answer_json_length))
    if len(body) >= COMPRESSED_BYTES:
        header = _get_header(request_headers, b"accept-encoding")
        accepted = {part.partition(b";")[0].strip() for part in header.split(b",")}
        encoding = next((name for name in (b"gzip", b"deflate") if name in accepted), None)
        if encoding is not None:
            headers.append((b"content-encoding", encoding))
            if len(body) <= INLINE_BYTES:
                body = compress(body, encoding)
            else:
                body = await asyncio.get_running_loop().run_in_executor(None, compress, body, encoding)
    return Answer(200, headers, body)


def compress(body: bytes, encoding: bytes) -> bytes:
    """The body as gzip, or deflate."""
    return gzip.compress(body, 1, mtime=0) if encoding == b"gzip" else zlib.compress(body, 1)


def describe_model(model: LoadedModel) -> dict[str, Any]:
    """The metadata of a model."""
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": PLATFORMS.get(model.manifest.format, model.manifest.format),
        "inputs": [info._asdict() for info in model.handler.inputs],
        "outputs": [info._asdict() for info in model.handler.outputs],
    }


def _build_document(document: Mapping[str, Any], status: int = 200) -> Response:
    return Response(to_json(document), status, media_type="application/json")


def _read_json_length(headers: list[tuple[bytes, bytes]]) -> int | None:
    value = _get_header(headers, JSON_LENGTH)
    if not value:
        return None
    return int(value) if value.isdigit() and len(value) < 12 else -1


def _get_header(headers: list[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    return next((value for name, value in headers if name == wanted), b"")


def _read_package_version() -> str:
    try:
        return version("deepseek-offline")
    except PackageNotFoundError:
        return "0"
