"""What a check of ours says of a value of a spec, for pydantic to raise."""

from typing import Any

from pydantic_core import PydanticCustomError


def build_spec_error(code: str, msgid: str, /, **params: Any) -> PydanticCustomError:
    """An error with a stable code and a message (deepseek/messages.py), whose id goes along in its context."""
    return PydanticCustomError(code, msgid, {**params, "msgid": msgid})
