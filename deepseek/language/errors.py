"""The refusals that several modules of this capability share."""

import importlib.util
import os
from pathlib import Path

from deepseek.job import EngineError
from deepseek.language.spec import BASE
from deepseek.messages import N_

PACKAGES = ("transformers", "peft", "tokenizers")


def require_packages() -> None:
    """Keep the packages off the network; raise EngineError ``package_missing`` where some are not there."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the packages are imported: nothing is ever fetched
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not missing:
        return
    raise EngineError(
        "package_missing",
        "A language model needs the packages {packages}.",
        packages=", ".join(missing),
        field="kind",
        value=f"{missing[0]} is not installed",
        limit="the extra language",
        hint=N_("Install it: pip install 'deepseek-offline[language]'"),
    )


def build_base_error(path: Path | str, why: str, *, hint: str, limit: str, slot: str = BASE) -> EngineError:
    """A folder that is no base model to go on from."""
    return EngineError(
        "base_unreadable",
        "{name} cannot be a base model: {why}.",
        name=Path(path).name,
        why=why,
        field=f"inputs/{slot}",
        value=str(Path(path).name),
        limit=limit,
        hint=hint,
    )
