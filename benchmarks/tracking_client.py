"""The stock MLflow client in loops: benchmarks/tracking.py runs it in the client's own environment."""

import os
import sys
import time

os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true")

import mlflow

SECONDS = float(sys.argv[1])


def loop(name, call, units=1):
    begun, count = time.perf_counter(), 0
    while (took := time.perf_counter() - begun) < SECONDS:
        call(count)
        count += 1
    print(f"{name} {count * units / took:.2f}", flush=True)


def start_and_end(_):
    with mlflow.start_run():
        pass


mlflow.set_experiment(f"client-{time.time_ns()}")
with mlflow.start_run():
    loop("log_metric", lambda step: mlflow.log_metric("loss", 0.1, step=step))
    loop("log_metrics of 10", lambda step: mlflow.log_metrics({f"m{k}": 0.5 for k in range(10)}, step=step), units=10)
loop("start_run and end_run", start_and_end)
