"""Prompts of MLflow are registered models and versions with a tag; the plane keeps models, so it offers none."""

from __future__ import annotations

from collections.abc import Mapping

from apps.gateways.mlflow.responses import MlflowError
from apps.ml.registry.filters import PROMPT


def refuse_prompt(tags: Mapping[str, str]) -> None:
    """Raise NOT_IMPLEMENTED where these tags would make a prompt, before anything is registered."""
    if tags.get(PROMPT, "").lower() == "true":
        raise MlflowError(
            "NOT_IMPLEMENTED",
            f"This server keeps no prompts (the tag {PROMPT}); nothing was registered. Keep the text of a prompt as an"
            " artifact of a run: mlflow.log_text.",
        )
