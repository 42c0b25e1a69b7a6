"""Run by the interpreter of MLFLOW_ENV: fills the server or file store at argv[1] by the stock client."""

import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput, Metric

mlflow.set_tracking_uri(sys.argv[1])  # what resolves models:/... asks this one
client = MlflowClient(sys.argv[1])
iris = client.create_experiment("iris", tags={"team": "a"})
gone = client.create_experiment("gone")
run = client.create_run(iris, run_name="first", tags={"k": "v", "mlflow.note.content": "# Note"}).info.run_id
for part in range(3):
    steps = range(part * 800, part * 800 + 800)
    client.log_batch(run, metrics=[Metric("train/loss", 1 / (n + 1), 1700000000000 + n, n) for n in steps])
for step, value in enumerate(["nan", "inf", "-inf"]):
    client.log_metric(run, "odd", float(value), step=step)
for key, value in {"lr": "0.1", "opt/name": "adam", "empty": ""}.items():
    client.log_param(run, key, value)
client.log_text(run, "hello", "sub/with space & ü.txt")
client.log_text(run, "", "empty.txt")
data = Dataset("d", "abcd1234", "local", "{}", "{}", "{}")
client.log_inputs(run, datasets=[DatasetInput(data, tags=[InputTag("mlflow.data.context", "train")])])
folder = Path(tempfile.mkdtemp())
(folder / "data").mkdir()
(folder / "MLmodel").write_text("flavors: {}\n")
(folder / "data/w.bin").write_bytes(bytes(range(256)))
model = client.create_logged_model(iris, "net", source_run_id=run, params={"depth": "3"}, tags={"t": "u"}).model_id
client.log_model_artifacts(model, str(folder))
client.finalize_logged_model(model, "READY")
client.log_outputs(run, [LoggedModelOutput(model, 5)])
point = Metric("acc", 0.9, 1700000000000, 5, model_id=model, dataset_name="d", dataset_digest="abcd1234")
client.log_batch(run, metrics=[point])
client.log_artifacts(run, str(folder), "old")
client.set_terminated(run)
second = client.create_run(iris, run_name="second").info.run_id
client.log_inputs(second, models=[LoggedModelInput(model)])
client.set_terminated(second, "FAILED")
client.delete_run(client.create_run(iris, run_name="deleted").info.run_id)
client.create_run(iris, run_name="still running")
client.create_run(gone, run_name="in a deleted experiment")
client.delete_experiment(gone)
client.create_registered_model("Iris Model", tags={"a": "b"}, description="iris")
client.create_model_version("Iris Model", f"models:/{model}", run_id=run, model_id=model, tags={"x": "y"})
uri = client.get_run(run).info.artifact_uri
client.create_model_version("Iris Model", f"{uri}/old", run_id=run)
client.delete_model_version("Iris Model", "2")
client.create_model_version("Iris Model", f"{uri}/old", run_id=run)
client.set_registered_model_alias("Iris Model", "champion", "1")
client.set_registered_model_alias("Iris Model", "production", "3")
print(run, model)
