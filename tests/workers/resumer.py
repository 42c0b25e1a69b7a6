"""An engine that goes on from its checkpoint: what it makes depends on every step, and on nothing else."""

import hashlib
import json
import os
import signal
import time

from deepseek.job import EngineError, Output, Result, build_checkpoint_path, stage_outputs

EVERY = 5


def run(spec, *, inputs, out, report):
    state = {"step": 0, "chain": ""}
    if "checkpoint" in inputs:
        state = json.loads(inputs["checkpoint"].read_text())
    began = state["step"]
    report.log(f"begins at step {began}")
    for step in range(began + 1, spec.steps + 1):
        time.sleep(spec.seconds / spec.steps)
        state = {"step": step, "chain": hashlib.sha256(f"{state['chain']} {step}".encode()).hexdigest()}
        report.metric("chain", int(state["chain"][:8], 16), step)
        report.progress(step, spec.steps, "steps", stage="train")
        if step % EVERY == 0:
            keep(out, state, report)
        if step == spec.steps * 3 // 4:
            stop(spec, began)
    with stage_outputs(out) as stage:
        (stage / "note.json").write_text(state["chain"])
    return Result((Output("note", "note.json", "application/json"),), {"began": began})


def keep(out, state, report):
    path = build_checkpoint_path(out)
    draft = path.with_name("draft")
    draft.write_text(json.dumps(state))
    draft.rename(path)
    report.checkpoint(path, state["step"])


def stop(spec, began):
    if spec.fail == "crash" and not began:
        os.kill(os.getpid(), signal.SIGKILL)
    if spec.fail == "error":
        raise EngineError("loss_not_finite", "The loss is nan.")


def outside(spec, *, inputs, out, report):
    """Names a file that is not its own, in three ways."""
    (out.parent / "link").symlink_to("/etc/hostname")
    for path in ("/etc/hostname", str(out.parent / "link"), str(out.parent)):
        report.send({"event": "checkpoint", "path": path, "step": 1})
        time.sleep(0.1)
    return Result(())
