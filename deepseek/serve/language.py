"""The service of a language model: the same addresses as any model's."""

import json
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from deepseek.job import EngineError
from deepseek.language.serving import MAX_BODY_BYTES, LanguagePredictor, read_prompt
from deepseek.serve.app import Service, read_body, refuse

ABOUT: dict[str, Any] = {
    "summary": "Answer a prompt",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["features"],
                    "properties": {
                        "features": {
                            "description": "A prompt, or messages.",
                            "anyOf": [
                                {"type": "string"},
                                {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "required": ["role", "content"],
                                        "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
                                    },
                                },
                            ],
                        }
                    },
                }
            }
        },
    },
    "responses": {
        "200": {
            "description": "The answer",
            "content": {
                "application/json": {
                    "schema": {"type": "object", "properties": {"prediction": {"type": "string"}}},
                }
            },
        }
    },
}


def create_language_app(predictor: LanguagePredictor) -> FastAPI:
    """One request is answered at a time, in a thread, so that the others and the health check are heard."""
    limiter = CapacityLimiter(1)
    document = predictor.manifest.to_json().encode()

    def answer(body: bytes) -> Response:
        try:
            prediction = predictor.answer(read_prompt(body))
        except EngineError as error:
            return refuse([error])
        return Response(json.dumps({"prediction": prediction}, ensure_ascii=False), media_type="application/json")

    async def predict(request: Request) -> Response:
        try:
            body = await read_body(request, MAX_BODY_BYTES)
        except EngineError as error:
            return refuse([error])
        return await to_thread.run_sync(answer, body, limiter=limiter)

    app = Service(predict, ABOUT)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/model")
    async def model() -> Response:
        return Response(document, media_type="application/json")

    return app
