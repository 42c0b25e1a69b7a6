"""Takes labels of recorded predictions, ``POST /labels``: what turned out to be right, minutes or days later.

Each request becomes one file of JSON lines, on the disk before it is answered. Whoever collects the files takes those
named ``*.jsonl`` and removes them.
"""

import asyncio
import os
import secrets
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator
from pydantic_core import ErrorDetails, to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deepseek.job import EngineError
from deepseek.serve.bodies import build_overloaded_error
from deepseek.serve.responses import (
    CONTENT_TYPE,
    Answer,
    Receive,
    Refused,
    Scope,
    Send,
    build_defect,
    build_refusal,
    send_answer,
)
from deepseek.serve.service import Service, logger

MAX_ROWS, MAX_BODY_BYTES = 1000, 1 << 20
MAX_WAITING_FILES, MAX_WAITING_BYTES = 10_000, 64 << 20
"""Beyond which none is taken until some were collected."""
MAX_ID_CHARACTERS, MAX_LABEL_CHARACTERS = 100, 16_384
"""As the plane takes them (docs/observations.md)."""
FULL_RETRY_SECONDS = 60


class LabelRow(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]+$")]
    label: JsonValue
    at: AwareDatetime | None = None

    @field_validator("label")
    @classmethod
    def _check_size(cls, label: JsonValue) -> JsonValue:
        if len(to_json(label)) > MAX_LABEL_CHARACTERS:
            raise ValueError(f"a label has at most {MAX_LABEL_CHARACTERS} characters of JSON")
        return label


class LabelBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    rows: Annotated[list[LabelRow], Field(min_length=1, max_length=MAX_ROWS)]


class LabelFolder:
    """The files of labels that wait to be collected."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in folder.glob("*.part"):  # of a process that was killed: its request was not answered
            if time.time() - path.stat().st_mtime > FULL_RETRY_SECONDS:
                path.unlink(missing_ok=True)

    def add(self, rows: list[LabelRow]) -> None:
        """Write the labels. Raises Refused ``overloaded`` where too many wait, and OSError."""
        sizes = self._list_sizes()
        if len(sizes) >= MAX_WAITING_FILES or sum(sizes) >= MAX_WAITING_BYTES:
            raise Refused(
                build_overloaded_error("requests with labels", MAX_WAITING_FILES), retry_after=FULL_RETRY_SECONDS
            )
        now = datetime.now(UTC)
        lines = [{"id": row.id, "at": (row.at or now).isoformat(), "label": row.label} for row in rows]
        path = self.folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}.jsonl"
        staged = path.with_suffix(".part")
        descriptor = os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"".join(to_json(line) + b"\n" for line in lines))
            file.flush()
            os.fsync(descriptor)
        staged.rename(path)

    def _list_sizes(self) -> list[int]:
        sizes = []
        for entry in os.scandir(self.folder):
            if entry.name.endswith(".jsonl"):
                with suppress(FileNotFoundError):  # it was just collected
                    sizes.append(entry.stat().st_size)
        return sizes


def add_labels(service: Service, folder: LabelFolder) -> None:
    """Let `service` take labels at ``POST /labels``."""

    async def take(scope: Scope, receive: Receive, send: Send) -> None:
        reserved = 0
        try:
            data, reserved = await service.bodies.read(receive, scope["headers"], MAX_BODY_BYTES)
            rows = parse_labels(data)
            await asyncio.to_thread(folder.add, rows)
            answer = Answer(202, [CONTENT_TYPE], to_json({"accepted": len(rows)}))
        except Refused as refused:
            answer = build_refusal(refused)
        except Exception as error:  # noqa: BLE001  it is logged, and answered
            logger.error("labels were not taken", exc_info=error)
            answer = build_refusal(Refused(build_defect()))
        try:
            await send_answer(send, answer)
        finally:
            service.budget.held -= reserved

    async def refuse_method(request: Request) -> Response:
        raise HTTPException(405, headers={"Allow": "POST"})

    service.add_handler("/labels", take)
    service.add_route("/labels", refuse_method, methods=["GET", "HEAD", "PUT", "PATCH", "DELETE"])


def parse_labels(data: bytes) -> list[LabelRow]:
    """The rows of a body. Raises Refused."""
    try:
        return LabelBody.model_validate_json(data).rows
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)[:20]
        raise Refused(*map(build_row_error, faults)) from error


def build_row_error(fault: ErrorDetails) -> EngineError:
    hint = 'Send {"rows": [{"id": "the X-Prediction-Id", "label": 57.9}]}.'
    if fault["type"] == "json_invalid":
        return EngineError("malformed_json", f"{fault['msg']}.", limit="one JSON object", hint=hint)
    field = "".join(f"/{part}" for part in fault["loc"])
    return EngineError("label_invalid", f"{fault['msg']}.", field=field, limit=f"1 to {MAX_ROWS} rows", hint=hint)
