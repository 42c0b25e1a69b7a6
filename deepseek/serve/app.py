"""The addresses beside those of predictions, which FastAPI answers: health, the models, /metrics."""

import os
import resource
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from deepseek.serve.loaded_model import LoadedModel
from deepseek.serve.metrics import METRICS_TYPE, MetricsText
from deepseek.serve.open_inference import add_open_inference
from deepseek.serve.options import ServeOptions
from deepseek.serve.recorder import PredictionRecorder
from deepseek.serve.repository import ModelRepository
from deepseek.serve.service import Service
from deepseek.serve.tokens import TokenSet

_PAGE = resource.getpagesize()
SHADOW_COUNTS = {
    "rows": "Rows that a candidate in shadow answered too.",
    "agreed": "Of them, rows with the same class, or numbers that agree to a thousandth.",
    "failed": "Rows that a candidate in shadow failed on.",
    "dropped": "Rows that came while too many waited for the candidate.",
}


def create_app(
    models: "list[LoadedModel]",
    options: ServeOptions | None = None,
    *,
    tokens: TokenSet | None = None,
    recorder: PredictionRecorder | None = None,
) -> Service:
    """The service of `models`; the first is that of /predict."""
    repository = ModelRepository(models)
    service = Service(repository, options or ServeOptions(), tokens=tokens, recorder=recorder)
    add_open_inference(service)
    started = time.time()

    @service.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @service.get("/model")
    async def model() -> Response:
        current = repository.default.current
        return Response(current.document, media_type="application/json", headers=_build_version_header(current))

    @service.get("/models")
    async def list_models() -> dict[str, Any]:
        return {"models": [describe_model(served.current) for served in repository]}

    @service.get("/models/{name}")
    async def show_model(name: str) -> Response:
        served = repository.get(name)
        if served is None:
            raise HTTPException(404)
        current = served.current
        return Response(current.document, media_type="application/json", headers=_build_version_header(current))

    @service.get("/metrics")
    async def metrics() -> Response:
        return Response(render_metrics(service, started), media_type=METRICS_TYPE.decode())

    return service


def create_executor(options: ServeOptions) -> Executor:
    """The threads in which models of one service compute."""
    return ThreadPoolExecutor(options.at_once, thread_name_prefix="predict")


def describe_model(model: LoadedModel) -> dict[str, Any]:
    """A version, as lists of models show it."""
    return {
        "name": model.name,
        "version": model.version,
        "digest": model.digest,
        "variant": model.manifest.variant,
        "format": model.manifest.format,
        "task": model.manifest.task,
    }


def render_metrics(service: Service, started: float) -> bytes:
    """The text of /metrics."""
    text, served = MetricsText(), list(service.repository)
    text.add(
        "requests_total",
        "counter",
        "Requests answered, by protocol and HTTP status.",
        (
            ({"model": entry.name, "protocol": protocol, "status": str(status)}, count)
            for entry in served
            for (protocol, status), count in sorted(entry.metrics.answers.items())
        ),
    )
    text.add_histogram(
        "request_duration_seconds",
        "Seconds from the head of a request to its answer.",
        (({"model": entry.name}, entry.metrics.seconds) for entry in served),
    )
    text.add(
        "rows_total", "counter", "Rows predicted.", (({"model": entry.name}, entry.metrics.rows) for entry in served)
    )
    text.add_histogram(
        "batch_rows",
        "Rows of a call of the model out of its queue.",
        (({"model": entry.name}, entry.metrics.batch_rows) for entry in served),
    )
    text.add_histogram(
        "batch_requests",
        "Requests of a call of the model out of its queue.",
        (({"model": entry.name}, entry.metrics.batch_requests) for entry in served),
    )
    text.add(
        "queue_length",
        "gauge",
        "Requests that wait.",
        (({"model": entry.name}, entry.current.waiting) for entry in served),
    )
    text.add(
        "model_info",
        "gauge",
        "The version that answers.",
        (
            (
                {
                    "model": entry.name,
                    "version": entry.current.version,
                    "variant": entry.current.manifest.variant,
                    "format": entry.current.manifest.format,
                },
                1,
            )
            for entry in served
        ),
    )
    text.add(
        "swaps_total", "counter", "Versions that took over.", (({"model": entry.name}, entry.swaps) for entry in served)
    )
    text.add(
        "swaps_refused_total",
        "counter",
        "Versions that were refused.",
        (({"model": entry.name}, entry.refused_swaps) for entry in served),
    )
    shadows = [(entry.name, entry.shadow) for entry in served if entry.shadow]
    for name, help_ in SHADOW_COUNTS.items():
        text.add(
            f"shadow_{name}_total",
            "counter",
            help_,
            (({"model": model, "version": entry.candidate.version}, getattr(entry, name)) for model, entry in shadows),
        )
    text.add(
        "shadow_largest_difference",
        "gauge",
        "Largest difference of two outputs of the version that answers and the candidate.",
        (({"model": model, "version": entry.candidate.version}, entry.largest_difference) for model, entry in shadows),
    )
    if service.recorder is not None:
        text.add("recorded_rows_total", "counter", "Predictions recorded.", [({}, service.recorder.recorded)])
        text.add(
            "recorded_dropped_total", "counter", "Predictions with no room to record.", [({}, service.recorder.dropped)]
        )
    text.add("slow_connections_total", "counter", "Connections ended for slowness.", [({}, service.count_ended())])
    text.add("body_bytes", "gauge", "Bytes of large bodies that are held.", [({}, service.budget.held)])
    text.add("resident_memory_bytes", "gauge", "Resident memory of the process.", [({}, _read_resident_bytes())])
    text.add("cpu_seconds_total", "counter", "Processor time of the process.", [({}, time.process_time())])
    text.add("start_time_seconds", "gauge", "When the service started, Unix time.", [({}, started)])
    return text.encode()


def _read_resident_bytes() -> int:
    try:
        with open(f"/proc/{os.getpid()}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0


def _build_version_header(model: LoadedModel) -> dict[str, str]:
    return {"X-Model-Version": model.version}
