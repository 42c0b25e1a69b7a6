"""The error for a model file that does more than compute, whatever its format."""

from pathlib import Path

from deepseek.job import EngineError


def build_unsafe_error(
    path: Path, what: str, *, limit: str, hint: str, slot: str = "model", value: str = ""
) -> EngineError:
    """The refusal of the file at `path`. `what`: a verb phrase, such as "holds functions of its own"."""
    return EngineError(
        "model_unsafe",
        "{path_name} {what}, so it was not opened.",
        path_name=path.name,
        what=what,
        field=f"inputs/{slot}",
        value=value or path.name,
        limit=limit,
        hint=hint,
    )
