"""A candidate in shadow: it sees the traffic, its answers are compared, and nobody waits for them or gets them."""

import threading
from collections import deque
from typing import Any

import numpy as np

from deepseek.serve.loaded_model import LoadedModel, Prediction
from deepseek.serve.recorder import PredictionRecorder, count_bytes, is_sampled

MAX_WAITING, MAX_WAITING_BYTES = 64, 64 << 20
"""Requests that wait for the candidate, and their bytes; what comes beyond is not compared."""
TOLERANCE = 1e-3
"""Numbers agree whose difference is no larger, relative to the larger of the two."""


class Shadow:
    """One candidate, and what was counted. It computes in a thread of its own."""

    def __init__(self, candidate: LoadedModel, rate: float = 1.0, recorder: PredictionRecorder | None = None) -> None:
        self.candidate, self.rate, self.recorder = candidate, rate, recorder
        self.rows = self.agreed = self.failed = self.dropped = 0
        self.largest_difference = 0.0
        self._waiting: deque[tuple[str | None, LoadedModel, Prediction, int]] = deque()
        self._added_bytes = self._taken_bytes = 0  # each counted by one thread
        self._wake, self._stopped = threading.Event(), False
        self._number = 0
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def add(self, key: str | None, model: LoadedModel, prediction: Prediction) -> None:
        """Compare what `model` answered with the candidate, later."""
        self._number += 1
        if not is_sampled(key or str(self._number), self.rate):
            return
        prediction = Prediction(prediction.inputs, prediction.outputs, b"")
        size = count_bytes(prediction)
        if len(self._waiting) >= MAX_WAITING or self._added_bytes - self._taken_bytes + size > MAX_WAITING_BYTES:
            self.dropped += prediction.inputs.total
            return
        self._added_bytes += size
        self._waiting.append((key, model, prediction, size))
        self._wake.set()

    def stop(self) -> None:
        """Compare no more."""
        self._stopped = True
        self._wake.set()

    def describe(self) -> dict[str, Any]:
        """The counts, as JSON."""
        return {
            "version": self.candidate.version,
            "variant": self.candidate.manifest.variant,
            "rate": self.rate,
            "rows": self.rows,
            "agreed": self.agreed,
            "failed": self.failed,
            "dropped": self.dropped,
            "largest_difference": self.largest_difference,
        }

    def _run(self) -> None:
        while not self._stopped:
            self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._stopped:
                key, model, prediction, size = self._waiting.popleft()
                self._compare(key, model, prediction)
                self._taken_bytes += size

    def _compare(self, key: str | None, model: LoadedModel, prediction: Prediction) -> None:
        handler, inputs = self.candidate.handler, prediction.inputs
        try:
            outputs = handler.predict(inputs.rows)
            agreed, difference = compare_outputs(model, prediction.outputs, self.candidate, outputs)
        except Exception:  # noqa: BLE001  a candidate that fails is what is to be found out
            self.failed += inputs.total
            return
        self.rows += inputs.total
        self.agreed += agreed
        self.largest_difference = max(self.largest_difference, difference)
        if self.recorder and key:
            self.recorder.add(key, self.candidate, Prediction(inputs, outputs, b""), None, shadow=True)


def compare_outputs(model: LoadedModel, ours: Any, candidate: LoadedModel, theirs: Any) -> tuple[int, float]:
    """Rows that agree, and the largest difference of two numbers: of a classification, rows agree by their class."""
    answers, candidate_answers = model.handler.list_answers(ours), candidate.handler.list_answers(theirs)
    if not model.handler.takes_arrays:
        return sum(
            answer == candidate_answer for answer, candidate_answer in zip(answers, candidate_answers, strict=True)
        ), 0.0
    difference = np.abs(ours - theirs)
    largest = float(difference.max(initial=0))
    if not np.isfinite(largest):
        raise ArithmeticError("outputs are not finite")
    if model.manifest.task == "classification":
        return sum(
            answer == candidate_answer for answer, candidate_answer in zip(answers, candidate_answers, strict=True)
        ), largest
    close = difference <= TOLERANCE * np.maximum(np.abs(ours), np.abs(theirs)) + 1e-9
    return int(close.reshape(len(close), -1).all(axis=1).sum()), largest
