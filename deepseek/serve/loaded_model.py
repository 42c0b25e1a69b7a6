"""One version of a model, loaded and ready to answer, and how its requests are computed."""

from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from deepseek.serve.batching import RequestQueue
from deepseek.serve.bodies import SMALL_BYTES
from deepseek.serve.handlers import Handler, Inputs
from deepseek.serve.measurement import Measured
from deepseek.serve.options import ServeOptions
from deepseek.serve.responses import CONTENT_TYPE, Headers

INLINE_SECONDS = 500e-6
"""A short request to a model that answers one row this fast is answered in the event loop: going to a thread and back
costs 50 microseconds on an idle machine, twice what a small model needs. Any other request goes to a thread, so that it
holds up nobody."""
INLINE_GAIN_SECONDS = 40e-6
"""What a row has to save in a batch, so that it pays to collect the requests of one turn of the event loop."""
QUEUED_GAIN = 0.2
"""Share of a row's time that it has to save, so that rows that wait are computed together."""


class Prediction(NamedTuple):
    """What was asked, what came out, and the body of the answer."""

    inputs: Inputs
    outputs: Any
    body: bytes


class LoadedModel:
    """A version of a model. `sample`: real examples, if there are any, to check versions with."""

    def __init__(
        self,
        name: str,
        version: str,
        handler: Handler,
        measured: Measured,
        options: ServeOptions,
        executor: Executor,
        *,
        folder: Path | None = None,
        at_once: int | None = None,
    ) -> None:
        self.name, self.handler, self.measured, self.folder = name, handler, measured, folder
        self.manifest = handler.manifest
        self.digest = self.manifest.compute_digest()
        self.version = version or self.digest[:12]
        self.headers: Headers = [CONTENT_TYPE, (b"x-model-version", self.version.encode())]
        self.document = self.manifest.to_json().encode()
        self.quick = measured.one <= INLINE_SECONDS
        self.inline_rows = max(1, int(INLINE_SECONDS / max(measured.one - measured.saved, 1e-7)))
        """Rows of a request that may be answered in the event loop."""
        merges = options.batching and handler.takes_arrays and not measured.batch_dependent
        limits: dict[str, Any] = {
            "max_waiting": options.max_waiting,
            "waiting_seconds": options.waiting_seconds,
            "max_batch": min(options.max_batch, handler.max_rows),
            "latency_budget": options.latency_budget,
        }
        self.queue = RequestQueue(
            handler.predict,
            executor,
            at_once=at_once or options.at_once,
            merges=merges and not self.quick and measured.saved >= QUEUED_GAIN * measured.one,
            **limits,
        )
        """Of what is computed in threads."""
        self.reading: RequestQueue | None = None
        """Of bodies that are read in threads."""
        if handler.reads_files:
            self.reading = RequestQueue(handler.predict, executor, at_once=at_once or options.at_once, **limits)
        self.turns: RequestQueue | None = None
        """Of what is computed in the event loop, where that pays."""
        if merges and self.quick and measured.saved >= INLINE_GAIN_SECONDS:
            self.turns = RequestQueue(handler.predict, None, merges=True, **limits)

    @property
    def waiting(self) -> int:
        """Requests that wait to be computed."""
        return sum(len(queue) for queue in (self.queue, self.turns, self.reading) if queue is not None)

    async def answer(self, body: bytes, alone: bool, codec: "Codec | None" = None) -> Prediction:
        """Read, compute and write one request, of POST /predict if no other `codec` is given. `alone`: no other request
        is being answered.

        Raises Refused and EngineError.
        """
        form = codec or self.handler
        if len(body) <= SMALL_BYTES and (self.quick or self.queue.merges):
            if self.reading is None or codec is not None:
                inputs = form.read(body)
            else:
                inputs = await self.reading.run(lambda: form.read(body))
            outputs = await self.compute(inputs, alone)
            return Prediction(inputs, outputs, form.encode(inputs, outputs))

        def answer_whole() -> Prediction:
            inputs = form.read(body)
            outputs = self.handler.predict(inputs.rows)
            return Prediction(inputs, outputs, form.encode(inputs, outputs))

        prediction: Prediction = await self.queue.run(answer_whole)
        return prediction

    async def compute(self, inputs: Inputs, alone: bool) -> Any:
        """The outputs of inputs that were read. Raises as `answer` does."""
        if self.quick and inputs.total <= self.inline_rows:
            if self.turns is None or alone:
                return self.handler.predict(inputs.rows)
            return await self.turns.predict(inputs.rows)
        if self.handler.takes_arrays:
            return await self.queue.predict(inputs.rows)
        return await self.queue.run(lambda: self.handler.predict(inputs.rows))


class Codec(Protocol):
    """How a protocol reads and writes the inputs and outputs of a model."""

    def read(self, body: bytes) -> Inputs:
        """Raises Refused."""

    def encode(self, inputs: Inputs, outputs: Any) -> bytes:
        """Raises Refused and EngineError."""
