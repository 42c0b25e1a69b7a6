"""Which 8-bit candidates fit a model, and why others are left out."""

from collections.abc import Sequence
from importlib.util import find_spec

from deepseek.export.forms import ONNX_PACKAGES
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.quantize.document import LeftOut, LeftOutReason
from deepseek.quantize.spec import QuantizeSpec

PARENT = "fp32"
TORCHSCRIPT, ONNX = "fp32-torchscript", "fp32-onnx"
DYNAMIC, ONNX_DYNAMIC, STATIC, TORCHAO = "int8", "int8-onnx", "int8-static", "int8-torchao"
CANDIDATES = (DYNAMIC, ONNX_DYNAMIC, STATIC, TORCHAO)
FITTING = {
    "mlp": CANDIDATES,
    "entities": (DYNAMIC, ONNX_DYNAMIC, TORCHAO),
    "image": (STATIC,),
}
"""Family -> the candidates that fit it. Convolutions get no dynamic form, which is slower than fp32; attention gets no
static one, as a product of two activations has no weights of fixed range."""
METHODS = {
    PARENT: "PyTorch, eager",
    TORCHSCRIPT: "torch.jit.trace, frozen",
    ONNX: "torch.onnx.export",
    DYNAMIC: "torch.ao.quantization.quantize_dynamic",
    ONNX_DYNAMIC: "onnxruntime.quantization.quantize_dynamic, per channel",
    STATIC: "onnxruntime.quantization.quantize_static, QDQ, per channel",
    TORCHAO: "torchao Int8DynamicActivationInt8WeightConfig",
}


def choose_candidates(family: str, spec: QuantizeSpec) -> tuple[list[str], list[LeftOut]]:
    """The forms to make beside the parent, and why others are not.

    Raises EngineError ``candidate_unfit`` or ``package_missing`` for a candidate that the spec names.
    """
    chosen, left_out, missing = [TORCHSCRIPT], list[LeftOut](), ", ".join(list_missing_packages())
    if spec.candidates and not {ONNX_DYNAMIC, STATIC} & set(spec.candidates):
        left_out.append(LeftOut(name=ONNX, reason="not_requested", detail=""))  # its export takes the longest of all
    elif missing:
        left_out.append(LeftOut(name=ONNX, reason="package_missing", detail=missing))
    else:
        chosen.append(ONNX)
    for name in CANDIDATES:
        matches = _find_reason(family, spec, name)
        if matches is None:
            chosen.append(name)
        elif name in spec.candidates:
            raise _build_candidate_error(name, FITTING[family], *matches)
        else:
            left_out.append(LeftOut(name=name, reason=matches[0], detail=matches[1]))
    return chosen, left_out


def list_missing_packages() -> list[str]:
    """The packages of the ONNX forms that are not installed."""
    return [name for name in ONNX_PACKAGES if find_spec(name) is None]


def _find_reason(family: str, spec: QuantizeSpec, name: str) -> tuple[LeftOutReason, str] | None:
    """Why a candidate is not made; None if it is."""
    if spec.candidates and name not in spec.candidates:
        return "not_requested", ""
    if name not in FITTING[family]:
        return ("convolutions", "") if family == "image" else ("attention", "")
    missing = list_missing_packages()
    if name == TORCHAO:
        missing = [] if find_spec("torchao") else ["torchao"]
    if name != DYNAMIC and missing:
        return "package_missing", ", ".join(missing)
    return None


def _build_candidate_error(name: str, fitting: Sequence[str], reason: str, detail: str) -> EngineError:
    if reason == "package_missing":
        return EngineError(
            "package_missing",
            "The candidate {name} needs packages that are not installed: {packages}.",
            name=name,
            packages=detail,
            field="/candidates",
            value=f"not installed: {detail}",
            limit=detail,
            hint=N_(
                "Install them: python -m pip install 'deepseek-offline[onnx]' torchao, or leave the candidate out."
            ),
        )
    return EngineError(
        "candidate_unfit",
        "The candidate {name} does not fit a model of this family.",
        name=name,
        field="/candidates",
        value=name,
        limit=", ".join(fitting),
        hint=N_("Name candidates that fit it, or none: then all of those are tried."),
    )


def build_operator_error(name: str, why: str) -> EngineError:
    """The error for a candidate whose runtime does not take the network; `why` names the operator."""
    return EngineError(
        "operator_unsupported",
        "The candidate {name} cannot be made of this network: {why}",
        name=name,
        why=why[:300],
        field="/candidates",
        value=why[:200],
        limit="the operators of the runtime",
        hint=N_("Replace that operation in the network, or leave the candidate out with --candidates."),
    )
