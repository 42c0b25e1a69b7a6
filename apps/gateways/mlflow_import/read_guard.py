"""Turn the failure to read one object into a value, so that one broken object does not end an import."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from apps.gateways.mlflow_import.source_records import Unreadable

T = TypeVar("T")
P = ParamSpec("P")


def try_read(what: str, read: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | Unreadable:
    """What `read` gives, or why this one thing cannot be read."""
    try:
        return read(*args, **named)
    except Unreadable as error:
        return Unreadable(f"{what}: {error}")
    except KeyError as error:
        return Unreadable(f"{what}: it lacks {error.args[0]!r}")
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        return Unreadable(f"{what}: {error}")
