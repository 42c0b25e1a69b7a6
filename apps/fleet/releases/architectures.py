"""Which processors a variant runs on, and whether a device needs torch for it."""

from __future__ import annotations

from typing import cast, get_args

from apps.core.errors import Conflict
from apps.ml.registry.models import Variant
from deepseek.messages import N_
from deepseek.signing.statements import Architecture

TORCHLESS = ("onnx", "tvm")
"""Formats that a device serves without torch; the others need one whose `runtimes` name torch."""
X86_ENGINES = ("x86", "fbgemm", "onednn")
"""Engines of torch whose packed 8-bit weights only x86-64 takes."""


def get_architecture(variant: Variant) -> Architecture:
    """The processor that the variant runs on. Raises Conflict `not_deployable` for one that no device has."""
    machine = variant.machine
    if variant.format == "tvm":
        architecture = str(machine.get("arch") or machine.get("target", ""))
    elif variant.format == "torchscript" and machine.get("engine") in X86_ENGINES:
        architecture = "x86_64"
    else:
        architecture = "any"
    if architecture not in get_args(Architecture):
        raise Conflict(
            "{variant} is made for {found}, which no device is.",
            variant=variant,
            found=architecture or "an unknown processor",
            code="not_deployable",
            field="variant",
            limit=", ".join(get_args(Architecture)),
            hint=N_("Compile it for x86_64-linux-gnu or aarch64-linux-gnu, or release its ONNX form."),
        )
    return cast(Architecture, architecture)
