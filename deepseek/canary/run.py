"""Make the verdict on a wave of canaries: ``verdict.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from deepseek.canary.evidence_spec import Evidence
from deepseek.canary.spec import CanaryPlan
from deepseek.flags import convert_errors
from deepseek.job import EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_

VERDICT_NAME = "verdict.json"
MAX_BYTES = 2**30
M = TypeVar("M", bound=BaseModel)


def run(spec: CanaryPlan, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Write ``verdict.json`` into `out`, whose meta is the verdict alone. The one slot is `evidence`, a JSON file.

    Raises EngineError ``evidence_unreadable``, ``spec_...`` for a field of it, and what evaluate_canary raises.
    """
    from deepseek.canary.verdict import evaluate_canary

    evidence = read_document(Evidence, Path(inputs["evidence"]), "evidence")
    report.progress(0, len(evidence.devices), "devices", stage="evaluate")
    verdict = evaluate_canary(spec, evidence)
    with stage_outputs(out) as stage:
        (stage / VERDICT_NAME).write_text(format_verdict(verdict), encoding="utf-8")
    report.progress(len(evidence.devices), len(evidence.devices), "devices", stage="evaluate")
    output = Output("verdict", VERDICT_NAME, "application/json", {"verdict": verdict["verdict"]})
    return Result((output,), {"verdict": verdict["verdict"], "reasons": verdict["reasons"]})


def format_verdict(verdict: Mapping[str, Any]) -> str:
    return json.dumps(verdict, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n"


def read_document(model: type[M], path: Path, slot: str) -> M:
    """A JSON file as a spec. Raises EngineError for the file, or the first field at fault."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _build_unreadable_error(path, slot, f"more than {MAX_BYTES} bytes")
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise convert_errors(error)[0] from error
    except OSError as error:
        raise _build_unreadable_error(path, slot, error.strerror or str(error)) from error


def _build_unreadable_error(path: Path, slot: str, reason: str) -> EngineError:
    return EngineError(
        "evidence_unreadable",
        N_("Cannot read {path}: {reason}."),
        path=str(path),
        reason=reason,
        field=f"inputs/{slot}",
        value=str(path),
        limit="a JSON file",
    )
