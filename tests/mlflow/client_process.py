"""Runs scripts with the stock MLflow client: it is imported once, and each script has a process of its own after that.

One JSON object a line on standard input: `script` (source), `environment`, `folder` (to work in). One line on standard
output when it has ended: the exit status. In the folder are then `printed.txt`, `said.json` (what the script put into
the dictionary `said`) and `calls.json` ([verb, path, status] of each HTTP call, in the order of the answers).
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import lightning
import mlflow
import mlflow.pytorch
import numpy
import pandas
import requests.adapters
import torch


def listen(calls: list[tuple[str, str, int]]) -> None:
    """Notes every call that the client makes; changes none."""
    send = requests.adapters.HTTPAdapter.send

    def noted(self: Any, request: Any, **more: Any) -> Any:
        answer = send(self, request, **more)
        calls.append((request.method, request.path_url, answer.status_code))
        return answer

    requests.adapters.HTTPAdapter.send = noted


def run(task: dict[str, Any]) -> int:
    """In the process of the script: exit status."""
    folder = Path(task["folder"])
    os.chdir(folder)
    os.environ.update(task["environment"])
    printed = os.open("printed.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    said: dict[str, Any] = {}
    calls: list[tuple[str, str, int]] = []
    listen(calls)
    known = {"mlflow": mlflow, "torch": torch, "lightning": lightning, "np": numpy, "pd": pandas, "said": said}
    try:
        exec(compile(task["script"], "script.py", "exec"), known)
        status = 0
    except BaseException:
        traceback.print_exc()
        status = 1
    (folder / "said.json").write_text(json.dumps(said, default=str))
    (folder / "calls.json").write_text(json.dumps(calls))
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def main() -> None:
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(run(json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
