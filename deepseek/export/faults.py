"""What torch says of a network that a form cannot hold, as errors that name the line or the operator."""

import linecache
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deepseek.job import EngineError
from deepseek.messages import N_

_OPERATOR = re.compile(r"OpOverload\(op='([\w.]+)'|(?:operator|target)[:=]? '?((?:torch\.ops\.)?aten[.:]+\w+)", re.I)
_BRANCH = "to a Python boolean"


def refuse_branches(caught: Sequence[warnings.WarningMessage]) -> None:
    """Raise EngineError ``export_branch`` where tracing followed one side of a branch that depends on values."""
    for warning in caught:
        if _BRANCH in str(warning.message):
            line = linecache.getline(warning.filename, warning.lineno).strip()
            raise EngineError(
                "export_branch",
                "{file_name}, line {line} branches on values or the size of a tensor: a form has one path for all.",
                file_name=Path(warning.filename).name,
                line=warning.lineno,
                field="inputs/model",
                value=line[:200] or f"line {warning.lineno}",
                limit="a network without such branches",
                hint=N_("Compute both sides and choose with torch.where."),
            )


@contextmanager
def translate_failure(form: str, others: Sequence[str]) -> Iterator[None]:
    """Turn what torch raises while it writes `form` into an EngineError; `others` are the forms that may be left.

    Raises EngineError ``export_operator`` (named), or ``export_failed`` with torch's first line.
    """
    try:
        yield
    except (EngineError, MemoryError, OSError):
        raise
    except Exception as error:  # torch has some twenty classes for this, most of them private
        raise _build_failure(form, others, _list_messages(error)) from error


def _list_messages(error: BaseException | None) -> list[str]:
    """What the error and its causes say, innermost first: torch wraps the reason in advice."""
    messages: list[str] = []
    while error is not None and len(messages) < 10:
        messages.insert(0, str(error) or type(error).__name__)
        error = error.__cause__ or error.__context__
    return messages


def _build_failure(form: str, others: Sequence[str], messages: Sequence[str]) -> EngineError:
    remedy = N_("Replace that operation in the network, or leave the form out with --forms.")
    limit = f"the forms {', '.join(others)}" if others else "another network"
    match = _OPERATOR.search("\n".join(messages))
    if match:
        operator = match[1] or match[2]
        return EngineError(
            "export_operator",
            "The form {form} has no operator for {operator}, which the network uses.",
            form=form,
            operator=operator,
            field="/forms",
            value=operator,
            limit=limit,
            hint=remedy,
        )
    why = next((line.strip() for line in messages[0].splitlines() if line.strip()), "")[:300]
    return EngineError(
        "export_failed",
        "The network cannot be written as {form}: {why}",
        form=form,
        why=why,
        field="/forms",
        value=form,
        limit=limit,
        hint=remedy,
    )
