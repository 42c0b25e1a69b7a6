"""What the MLmodel file of a version says: with which libraries it can be loaded, and what goes in and out.

Anybody may have written it, so it is read as plain YAML of a bounded size, and only texts are taken from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from apps.core.errors import Unavailable
from apps.ml.registry.models import ModelVersion
from apps.platform.artifacts.services import Damaged
from apps.platform.artifacts.verification import read_verified

MAX_BYTES = 64 << 10  # bytes of a file that is read
MAX_VALUE_LENGTH = 200  # characters of one value
MAX_FLAVORS = 20
YAML_ERRORS = (LookupError, AttributeError, ValueError, TypeError, ArithmeticError, yaml.YAMLError, RecursionError)
"""What PyYAML and Python raise for values of a kind that they only seem to be: `!!timestamp x`, `!!int ''`, and an
integer of more digits than Python writes out."""
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class MLmodel:
    """`flavors`: (name, version of its library); `signature`: (inputs, outputs) as text."""

    flavors: list[tuple[str, str]]
    mlflow: str
    python: str
    inputs: str
    outputs: str


def read_mlmodel(version: ModelVersion) -> MLmodel | None:
    """What the file says, or None where there is none, or none that can be read."""
    row = version.files.filter(path="MLmodel", size__lte=MAX_BYTES).values_list("artifact_id", flat=True).first()
    if row is None:
        return None
    try:
        document = yaml.load(read_verified(row), Loader=LOADER)  # noqa: S506 - a safe loader
        return parse_mlmodel(document) if isinstance(document, dict) else None
    except (OSError, Unavailable, Damaged, *YAML_ERRORS):
        return None


def parse_mlmodel(document: dict[Any, Any]) -> MLmodel:
    flavors = document.get("flavors")
    flavor_versions = []
    for name, about in list(flavors.items())[:MAX_FLAVORS] if isinstance(flavors, dict) else []:
        version = next((about[key] for key in about if is_library_version(str(key))), "") if is_map(about) else ""
        flavor_versions.append((format_value(name), format_value(version)))
    function = flavors.get("python_function") if is_map(flavors) else None
    python = function.get("python_version") if is_map(function) else ""
    signature = document.get("signature")
    ways = [format_value(signature.get(way)) if is_map(signature) else "" for way in ("inputs", "outputs")]
    return MLmodel(flavor_versions, format_value(document.get("mlflow_version")), format_value(python), *ways)


def is_library_version(key: str) -> bool:
    """Whether it is the version of the flavour's own library, and not of what it was pickled with."""
    return key.endswith("_version") and key not in {"python_version", "cloudpickle_version"}


def is_map(value: Any) -> bool:
    return isinstance(value, dict)


def format_value(value: Any) -> str:
    return str(value)[:MAX_VALUE_LENGTH] if isinstance(value, str | int | float) else ""
