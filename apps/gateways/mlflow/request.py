"""What a client asks: its parameters by name, checked as MLflow checks them, with MLflow's texts for what is wrong."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, UnreadablePostError
from pydantic_core import from_json

from apps.core.actors import Actor
from apps.core.errors import TooLarge
from apps.gateways.mlflow.responses import MlflowError, wrong
from apps.platform.accounts.models import Project

SEE = "See the API docs for more information about request parameters."
PARAMETERS = 1000  # of a query
INT64 = 2**63
SHOWN = 200  # characters of a wrong value in a text
JSON = "application/json"


class Ask:
    """One call. `given`: the members of its JSON body, or its query with a list of texts for each name."""

    def __init__(
        self,
        actor: Actor,
        project_id: int,
        slug: str,
        given: dict[str, Any],
        request: HttpRequest,
        *,
        by_query: bool = False,
    ) -> None:
        self.actor, self.project_id, self.slug = actor, project_id, slug  # the token's: with these it goes to a policy
        self.given, self.by_query, self.request = given, by_query, request

    @property
    def project(self) -> Project:
        """The token's project, as services want it. Only its id and slug are known: no query."""
        return Project(pk=self.project_id, slug=self.slug)

    def value(self, name: str) -> Any:
        """As it was sent; None where it was not, or was null. Of a query the first of that name."""
        value = self.given.get(name)
        return value[0] if self.by_query and value else value

    def text(self, name: str, default: str = "") -> str:
        value = self.value(name)
        if value is None:
            return default
        if type(value) is not str:
            raise mistyped(name, value)
        return value

    def required(self, name: str) -> str:
        """A text that must be there and not empty."""
        value = self.value(name)
        if value is None or value == "":
            raise missing(name)
        if type(value) is not str:
            raise mistyped(name, value)
        return value

    def run_id(self) -> str:
        """Clients name a run twice, as `run_id` and by the older `run_uuid`; either will do."""
        return self.text("run_id") or self.text("run_uuid") or self.required("run_id")

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number of 64 bits, also as a text; required where there is no default."""
        value = self.value(name)
        if value is None:
            if default is None:
                raise missing(name)
            return default
        return whole(name, value)

    def number(self, name: str) -> float:
        """A number, also as a text, with "NaN", "Infinity" and "-Infinity"; required."""
        value = self.value(name)
        if value is None:
            raise missing(name)
        return decimal(name, value)

    def flag(self, name: str) -> bool:
        value = self.value(name)
        if value in (None, False, "false", "False", ""):
            return False
        if value in (True, "true", "True"):
            return True
        raise mistyped(name, value)

    def texts(self, name: str) -> list[str]:
        """A list of texts: of a body a JSON array, of a query every value of that name. Empty where there is none."""
        value = self.given.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(type(each) is str for each in value):
            raise mistyped(name, value)
        return value

    def items(self, name: str) -> list[dict[str, Any]]:
        """A list of JSON objects, for instance `tags`."""
        value = self.given.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise mistyped(name, value)
        return value

    def pairs(self, name: str) -> list[tuple[str, str]]:
        """A list of {key, value}, as tags and params are sent; what lacks is ""."""
        return [(member(name, each, "key"), member(name, each, "value")) for each in self.items(name)]

    def member(self, name: str) -> dict[str, Any]:
        """A JSON object."""
        value = self.given.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise mistyped(name, value)
        return value


def member(name: str, item: dict[str, Any], key: str) -> str:
    """The text at `key` of an object in the list `name`."""
    value = item.get(key)
    if value is None:
        return ""
    if type(value) is not str:
        raise mistyped(name, item)
    return value


def whole(name: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise mistyped(name, value) from None
    if not -INT64 <= number < INT64:
        raise mistyped(name, value)
    return number


def decimal(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise mistyped(name, value) from None


# -- texts ----------------------------------------------------------------------------------------------------------
def missing(name: str) -> MlflowError:
    return wrong(f"Missing value for required parameter '{name}'. {SEE}")


def mistyped(name: str, value: Any) -> MlflowError:
    return wrong(
        f"Invalid value {shown(value)} for parameter '{name}' supplied:  "
        f"Hint: Value was of type '{type(value).__name__}'. {SEE}"
    )


def shown(value: Any) -> str:
    """A value in a text: as JSON, cut."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


# -- bodies and queries ---------------------------------------------------------------------------------------------
def holds_nul(value: Any) -> bool:
    """Whether a key or a text of this JSON, at any depth, holds the character NUL."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            if "\x00" in one:
                return True
        elif isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
    return False


def body_of(request: HttpRequest, most: int = 0) -> dict[str, Any]:
    """The JSON object of the body; what cannot be read is as an empty one, as in MLflow: the parameter is missing.

    `most`: bytes that it may have where that is more than BODY_LIMIT_BYTES.
    """
    kind = request.META.get("CONTENT_TYPE", "")
    if request.method == "DELETE" and not kind and request.META.get("CONTENT_LENGTH", "") in {"", "0"}:
        return {}  # the address says what is to go
    if kind != JSON and kind.partition(";")[0].strip() != JSON:
        why = f"Content-Type must be one of ['{JSON}']" if kind else "Content-Type header is missing"
        raise wrong(f"Bad Request. {why}.")
    limit = max(most, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    try:
        body = request.body if announced(request) <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE else long_body(request, limit)
    except RequestDataTooBig:
        raise TooLarge(f"The body is larger than {limit} bytes.", limit=limit, hint="Send fewer at once.") from None
    except UnreadablePostError:
        raise wrong("The body ended early.") from None
    value = read(body)
    if isinstance(value, str):  # JSON in a JSON text, which MLflow takes
        value = read(value.encode())
    if b"u0000" in body and holds_nul(value):  # few bodies have to be looked through
        raise wrong("A text holds the character NUL (\\u0000), which no database keeps.")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(f"The body must be a JSON object, not {shown(value)}.")
    return value


def announced(request: HttpRequest) -> int:
    """The length that the request says its body has."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isdecimal() else 0


def long_body(request: HttpRequest, limit: int) -> bytes:
    """A body that is longer than Django itself would read."""
    if announced(request) > limit:
        raise RequestDataTooBig
    return request.read()


def read(data: bytes) -> Any:
    """The value of a JSON text, None for what is none. It stops at a depth of 200, and at half a character pair."""
    try:
        return from_json(data, allow_inf_nan=True)
    except ValueError:
        return None


def query_of(request: HttpRequest) -> dict[str, list[str]]:
    """The query, every value of a name; a NUL in it is refused, and so is what is not UTF-8."""
    found: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(
            request.META.get("QUERY_STRING", ""), keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS
        )
    except ValueError:
        raise wrong("The query cannot be read.") from None
    for name, value in pairs:
        if "\x00" in value:
            raise wrong("A text holds the character NUL, which no database keeps.")
        found.setdefault(name, []).append(value)
    return found
