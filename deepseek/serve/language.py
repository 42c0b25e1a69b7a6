"""The handler of a language model: a prompt or messages in, the answer out."""

import json
from collections.abc import Mapping
from typing import Any

from deepseek.job import EngineError
from deepseek.language.serving import MAX_BODY_BYTES, LanguagePredictor, read_prompt
from deepseek.serve.handlers import Handler, Inputs, build_texts
from deepseek.serve.responses import Refused
from deepseek.serve.tensors import BYTES, Tensor, TensorInfo, as_texts, build_tensor_error, require_names

_MESSAGE = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
}
_PROMPT = {"description": "A prompt, or messages.", "anyOf": [{"type": "string"}, {"type": "array", "items": _MESSAGE}]}
_REQUEST = {"type": "object", "required": ["features"], "properties": {"features": _PROMPT}}
_RESPONSE = {"type": "object", "properties": {"prediction": {"type": "string"}}}


class LanguageHandler(Handler):
    """One prompt a request."""

    max_rows = 1
    body_limit = MAX_BODY_BYTES

    def __init__(self, predictor: LanguagePredictor) -> None:
        self.predictor, self.manifest = predictor, predictor.manifest
        self.inputs, self.outputs = [TensorInfo("features", BYTES, [1])], [TensorInfo("text", BYTES, [1])]

    def read(self, body: bytes) -> Inputs:
        try:
            return Inputs(read_prompt(body), 1, True)
        except EngineError as error:
            raise Refused(error) from error

    def predict(self, rows: Any) -> str:
        return self.predictor.answer(rows)

    def encode(self, inputs: Inputs, outputs: str) -> bytes:
        return json.dumps({"prediction": outputs}, ensure_ascii=False).encode()

    def list_features(self, inputs: Inputs) -> list[Any]:
        return [inputs.rows]

    def list_answers(self, outputs: str) -> list[Any]:
        return [outputs]

    def read_tensors(self, tensors: Mapping[str, Tensor]) -> Inputs:
        require_names(tensors, self.inputs)
        texts = as_texts("features", tensors["features"])
        if len(texts) != 1 or not texts[0]:
            raise build_tensor_error("The input features is not one text.", "/inputs/features", "[1]")
        return Inputs(texts[0], 1, True)

    def build_tensors(self, inputs: Inputs, outputs: str) -> list[Any]:
        return [build_texts([outputs])]

    def describe(self) -> dict[str, Any]:
        return {
            "summary": "Answer a prompt",
            "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}},
            "responses": {
                "200": {"description": "The answer", "content": {"application/json": {"schema": _RESPONSE}}},
            },
        }
