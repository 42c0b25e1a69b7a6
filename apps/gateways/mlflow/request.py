"""Parameters of MLflow requests: parsed by name and validated as MLflow does, with MLflow's error messages."""

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
from apps.core.request_values import parse_int
from apps.gateways.mlflow.responses import MlflowError, invalid_parameter_error
from apps.platform.accounts.models import Project

SEE_DOCS = "See the API docs for more information about request parameters."
MAX_QUERY_PARAMETERS = 1000  # of a query
INT64 = 2**63
MAX_VALUE_CHARS = 200  # characters of a wrong value in a text
JSON = "application/json"


class MlflowCall:
    """One request of a client. `parameters`: the members of its JSON body, or its query as lists of texts by name."""

    def __init__(
        self,
        actor: Actor,
        project_id: int,
        slug: str,
        parameters: dict[str, Any],
        request: HttpRequest,
        *,
        by_query: bool = False,
    ) -> None:
        self.actor, self.project_id, self.slug = actor, project_id, slug  # the token's: with these it goes to a policy
        self.parameters, self.by_query, self.request = parameters, by_query, request

    @property
    def project(self) -> Project:
        """The token's project, as services want it. Only its id and slug are known: no query."""
        return Project(pk=self.project_id, slug=self.slug)

    def get_value(self, name: str) -> Any:
        """As it was sent; None where it was not, or was null. Of a query the first of that name."""
        value = self.parameters.get(name)
        return value[0] if self.by_query and value else value

    def get_text(self, name: str, default: str = "") -> str:
        value = self.get_value(name)
        if value is None:
            return default
        if type(value) is not str:
            raise mistyped_parameter_error(name, value)
        return value

    def require_text(self, name: str) -> str:
        """A text that must be there and not empty."""
        value = self.get_value(name)
        if value is None or value == "":
            raise missing_parameter_error(name)
        if type(value) is not str:
            raise mistyped_parameter_error(name, value)
        return value

    def get_run_id(self) -> str:
        """Clients name a run twice, as `run_id` and by the older `run_uuid`; either will do."""
        return self.get_text("run_id") or self.get_text("run_uuid") or self.require_text("run_id")

    def get_integer(self, name: str, default: int | None = None) -> int:
        """A whole number of 64 bits, also as a text; required where there is no default."""
        value = self.get_value(name)
        if value is None:
            if default is None:
                raise missing_parameter_error(name)
            return default
        return parse_int64(name, value)

    def get_number(self, name: str) -> float:
        """A number, also as a text, with "NaN", "Infinity" and "-Infinity"; required."""
        value = self.get_value(name)
        if value is None:
            raise missing_parameter_error(name)
        return parse_float(name, value)

    def get_flag(self, name: str) -> bool:
        value = self.get_value(name)
        if value in (None, False, "false", "False", ""):
            return False
        if value in (True, "true", "True"):
            return True
        raise mistyped_parameter_error(name, value)

    def get_texts(self, name: str) -> list[str]:
        """A list of texts: of a body a JSON array, of a query every value of that name. Empty where there is none."""
        value = self.parameters.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(type(each) is str for each in value):
            raise mistyped_parameter_error(name, value)
        return value

    def get_objects(self, name: str) -> list[dict[str, Any]]:
        """A list of JSON objects, for instance `tags`."""
        value = self.parameters.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise mistyped_parameter_error(name, value)
        return value

    def get_pairs(self, name: str) -> list[tuple[str, str]]:
        """A list of {key, value}, as tags and params are sent; what lacks is ""."""
        return [
            (get_text_member(name, each, "key"), get_text_member(name, each, "value"))
            for each in self.get_objects(name)
        ]

    def get_object(self, name: str) -> dict[str, Any]:
        """A JSON object."""
        value = self.parameters.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise mistyped_parameter_error(name, value)
        return value


def get_text_member(name: str, item: dict[str, Any], key: str) -> str:
    """The text at `key` of an object in the list `name`."""
    value = item.get(key)
    if value is None:
        return ""
    if type(value) is not str:
        raise mistyped_parameter_error(name, item)
    return value


def parse_int64(name: str, value: Any) -> int:
    try:
        number = parse_int(value, -INT64) if isinstance(value, str) else int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or not -INT64 <= number < INT64:
        raise mistyped_parameter_error(name, value)
    return number


def parse_float(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise mistyped_parameter_error(name, value) from None


# -- texts ----------------------------------------------------------------------------------------------------------
def missing_parameter_error(name: str) -> MlflowError:
    return invalid_parameter_error(f"Missing value for required parameter '{name}'. {SEE_DOCS}")


def mistyped_parameter_error(name: str, value: Any) -> MlflowError:
    return invalid_parameter_error(
        f"Invalid value {format_value(value)} for parameter '{name}' supplied:  "
        f"Hint: Value was of type '{type(value).__name__}'. {SEE_DOCS}"
    )


def format_value(value: Any) -> str:
    """A value in a text: as JSON, cut."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}..."


# -- bodies and queries ---------------------------------------------------------------------------------------------
def has_nul(value: Any) -> bool:
    """Whether a key or a text of this JSON, at any depth, holds the character NUL."""
    pending = [value]
    while pending:
        value_part = pending.pop()
        if isinstance(value_part, str):
            if "\x00" in value_part:
                return True
        elif isinstance(value_part, dict):
            pending += [*value_part, *value_part.values()]
        elif isinstance(value_part, list):
            pending += value_part
    return False


def read_json_body(request: HttpRequest, max_bytes: int = 0) -> dict[str, Any]:
    """The JSON object of the body; what cannot be read is as an empty one, as in MLflow: the parameter is missing.

    `max_bytes`: the limit of the body where it is above BODY_LIMIT_BYTES.
    """
    content_type = request.META.get("CONTENT_TYPE", "")
    if request.method == "DELETE" and not content_type and request.META.get("CONTENT_LENGTH", "") in {"", "0"}:
        return {}  # the address says what is to go
    if content_type != JSON and content_type.partition(";")[0].strip() != JSON:
        why = f"Content-Type must be one of ['{JSON}']" if content_type else "Content-Type header is missing"
        raise invalid_parameter_error(f"Bad Request. {why}.")
    limit = max(max_bytes, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    try:
        body = (
            request.body
            if get_content_length(request) <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            else read_long_body(request, limit)
        )
    except RequestDataTooBig:
        raise TooLarge(f"The body is larger than {limit} bytes.", limit=limit, hint="Send fewer at once.") from None
    except UnreadablePostError:
        raise invalid_parameter_error("The body ended early.") from None
    value = parse_json(body)
    if isinstance(value, str):  # JSON in a JSON text, which MLflow takes
        value = parse_json(value.encode())
    if b"u0000" in body and has_nul(value):  # few bodies have to be looked through
        raise invalid_parameter_error("A text holds the character NUL (\\u0000), which no database keeps.")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid_parameter_error(f"The body must be a JSON object, not {format_value(value)}.")
    return value


def get_content_length(request: HttpRequest) -> int:
    """The length that the request says its body has."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isdecimal() else 0


def read_long_body(request: HttpRequest, limit: int) -> bytes:
    """A body that is longer than Django itself would read."""
    if get_content_length(request) > limit:
        raise RequestDataTooBig
    return request.read()


def parse_json(data: bytes) -> Any:
    """The value of a JSON text, None for what is none. It stops at a depth of 200, and at half a character pair."""
    try:
        return from_json(data, allow_inf_nan=True)
    except ValueError:
        return None


def parse_query(request: HttpRequest) -> dict[str, list[str]]:
    """The query, every value of a name; a NUL in it is refused, and so is what is not UTF-8."""
    parameters: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(
            request.META.get("QUERY_STRING", ""),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_QUERY_PARAMETERS,
        )
    except ValueError:
        raise invalid_parameter_error("The query cannot be read.") from None
    for name, value in pairs:
        if "\x00" in value:
            raise invalid_parameter_error("A text holds the character NUL, which no database keeps.")
        parameters.setdefault(name, []).append(value)
    return parameters
