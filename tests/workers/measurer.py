"""An engine that measures: three losses, a NaN, figures; it may fail, or wait to be killed."""

import json
import time

from deepseek.job import EngineError, Output, Result, stage_outputs


def run(spec, *, inputs, out, report):
    for step in range(1, 4):
        report.metric("train/loss", 1 / step, step)
    report.metric("train/odd", float("nan"), 1)
    time.sleep(spec.seconds)
    if spec.fail == "error":
        raise EngineError("asked_to_fail", "It was asked to fail.")
    if spec.fail:
        raise RuntimeError("it was asked to crash")
    rmse = {"name": "rmse", "better": "lower"}
    figures = {"schema": "plane/figures/v1", "variant": "fp32", "rows": 7, "size_bytes": 10}
    figures["metrics"] = [{**rmse, "value": 0.5}]
    figures["baseline"] = {"name": "mean", "metrics": [{**rmse, "value": 2.0}]}
    with stage_outputs(out) as stage:
        (stage / "figures.json").write_text(json.dumps(figures))
    return Result((Output("figures", "figures.json", "application/json"),))
