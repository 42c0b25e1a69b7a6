"""The vocabulary of a model file. Loads no PyTorch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.assets import read_assets
from deepseek.models.manifest import EntitiesArchitecture

TOKENIZER: Final = 1  # another number where a text would be cut into other tokens


class Assets(BaseModel):
    """What a model file keeps beside its weights: `continuation` is as `decode_tags` takes it, for each label."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tokenizer: Literal[1] = TOKENIZER
    vocabulary: list[str]
    labels: list[str]
    continuation: list[Annotated[float, Field(gt=0, lt=1)]]


def read_model_assets(path: Path, architecture: EntitiesArchitecture | None, field: str = "inputs/model") -> Assets:
    """The assets of the file at `path`, which fit the architecture where that is known.

    Raises EngineError ``model_mismatch``, or what `read_assets` does.
    """
    return parse_assets(read_assets(path, field), architecture, field)


def parse_assets(
    record: Mapping[str, Any], architecture: EntitiesArchitecture | None, field: str = "inputs/model"
) -> Assets:
    """The assets that a model file has in its header. Raises EngineError ``model_mismatch``."""
    try:
        assets = Assets.model_validate(record)
        if architecture and (len(assets.vocabulary), assets.labels) != (architecture.words, architecture.labels):
            raise ValueError(f"{len(assets.vocabulary)} words of {', '.join(assets.labels)}")
        if len(assets.continuation) != len(assets.labels):
            raise ValueError(f"{len(assets.continuation)} shares of continuation for {len(assets.labels)} labels")
    except ValueError as error:  # pydantic's among them
        raise EngineError(
            "model_mismatch",
            "The model file has no vocabulary that fits its network.",
            field=field,
            value=str(error).splitlines()[0][:200],
            limit="none" if architecture is None else f"{architecture.words} words",
            hint=N_("Give the model.safetensors that `deepseek train-entities` wrote."),
        ) from error
    return assets


def merge_vocabulary(known: Sequence[str], found: Sequence[str]) -> list[str]:
    """The words of earlier weights, each with its vector, then those that only the new texts have."""
    words = set(known)
    return [*known, *(word for word in found if word not in words)]
