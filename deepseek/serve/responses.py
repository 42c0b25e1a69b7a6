"""What an answer is, and the one shape of every refusal of /predict: {"error": {code, message, field, ..., errors}}."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import to_json

from deepseek.job import EngineError
from deepseek.serve.messages import encode_errors

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

STATUS = {
    "malformed_json": 400,
    "body_cut_off": 400,
    "malformed_body": 400,
    "unauthenticated": 401,
    "token_unknown": 401,
    "not_found": 404,
    "request_too_slow": 408,
    "too_large": 413,
    "too_many_rows": 413,
    "signature_differs": 409,
    "encoding_unknown": 415,
    "overloaded": 503,
    "waited_too_long": 503,
    "server_error": 500,
}
"""HTTP status of a refusal by its code; 422 where it is not here."""
CONTENT_TYPE = (b"content-type", b"application/json")


class Refused(Exception):
    """A request that is not answered; `errors` say why, the first decides on the status."""

    def __init__(self, *errors: EngineError, retry_after: int | None = None) -> None:
        super().__init__(errors[0].code)
        self.errors, self.retry_after = errors, retry_after

    @property
    def status(self) -> int:
        return STATUS.get(self.errors[0].code, 422)


class Answer(NamedTuple):
    """Status, headers without the length, and body."""

    status: int
    headers: Headers
    body: bytes


async def send_answer(send: Send, answer: Answer) -> None:
    """Send `answer`, with its length."""
    status, headers, body = answer
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def build_refusal(refused: Refused) -> Answer:
    """The answer to a request that was refused."""
    return Answer(refused.status, [CONTENT_TYPE, *build_refusal_headers(refused)], encode_errors(refused.errors))


def build_refusal_headers(refused: Refused) -> Headers:
    """The headers of a refusal that its status asks for."""
    headers: Headers = []
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refused.retry_after is not None:
        headers.append((b"retry-after", b"%d" % refused.retry_after))
    if refused.errors[0].code == "too_large":
        headers.append((b"connection", b"close"))  # the rest of its body is no next request
    return headers


def build_error(refused: Refused) -> Answer:
    """A refusal as the Open Inference Protocol has it: {"error": text}, and 400 for bad input."""
    status = 400 if refused.status == 422 else refused.status
    body = to_json({"error": describe_errors(refused.errors)})
    return Answer(status, [CONTENT_TYPE, *build_refusal_headers(refused)], body)


def describe_errors(errors: Sequence[EngineError]) -> str:
    """The errors as one text, for a protocol whose refusals are a text."""
    parts = []
    for error in errors[:3]:
        place = f" ({error.field})" if error.field else ""
        parts.append(f"{error.message}{place} {error.hint or ''}".strip())
    return " ".join(parts)


def build_defect() -> EngineError:
    """The error for a defect: the log has the trace; the caller only learns that there is one."""
    return EngineError("server_error", "The service failed.", hint="Its log says more.")
