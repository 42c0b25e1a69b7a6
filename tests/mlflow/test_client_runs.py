"""What a run records, by the stock client."""

import math


def test_all_that_a_run_records(client):
    said = client("""
        mlflow.set_experiment("runs by client")
        with mlflow.start_run(run_name="first", tags={"given": "yes"}) as run:
            mlflow.log_param("lr", 0.1)
            mlflow.log_params({"depth": 3, "void": ""})
            for step in range(3): mlflow.log_metric("loss", 1 / (step + 1), step=step)
            mlflow.log_metrics({"acc": 0.9, "val/f1 score": 0.5}, step=2)
            mlflow.set_tag("colour", "red")
            mlflow.set_tags({"shape": "round", "gone": "soon"})
            mlflow.delete_tag("gone")
        kept = mlflow.get_run(run.info.run_id)
        said["info"] = dict(kept.info)
        said["data"] = kept.data.to_dictionary()
        said["history"] = [(m.step, m.value) for m in mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")]
    """)
    info, data = said["info"], said["data"]
    assert (info["run_name"], info["status"], info["lifecycle_stage"]) == ("first", "FINISHED", "active")
    assert info["end_time"] >= info["start_time"]
    assert data["params"] == {"lr": "0.1", "depth": "3", "void": ""}
    assert data["metrics"] == {"loss": 1 / 3, "acc": 0.9, "val/f1 score": 0.5}
    assert {name: data["tags"][name] for name in ("given", "colour", "shape", "mlflow.runName")} == {
        "given": "yes",
        "colour": "red",
        "shape": "round",
        "mlflow.runName": "first",
    }
    assert "gone" not in data["tags"]
    assert said["history"] == [[0, 1.0], [1, 0.5], [2, 1 / 3]]
    first = said.calls.index("POST runs/create")
    assert said.calls[first : first + 3] == ["POST runs/create", "POST runs/log-parameter", "POST runs/log-batch"]
    assert said.calls[first + 3 : first + 6] == ["POST runs/log-metric"] * 3
    assert said.calls[first + 6 : first + 10] == [
        "POST runs/log-batch",
        "POST runs/set-tag",
        "POST runs/log-batch",
        "POST runs/delete-tag",
    ]
    assert said.calls[first + 10] == "POST runs/update"


def test_a_script_that_fails_leaves_a_failed_run(client):
    said = client("""
        try:
            with mlflow.start_run() as run: raise ValueError("no data")
        except ValueError: pass
        said["status"] = mlflow.get_run(run.info.run_id).info.status
    """)
    assert said["status"] == "FAILED"


def test_a_param_is_written_once(client):
    said = client("""
        from mlflow.exceptions import MlflowException
        with mlflow.start_run() as run:
            mlflow.log_param("lr", 1)
            mlflow.log_param("lr", 1)
            try: mlflow.log_param("lr", 2)
            except MlflowException as refused: said["refused"] = [refused.error_code, refused.message]
    """)
    code, message = said["refused"]
    assert code == "INVALID_PARAMETER_VALUE"
    assert "Changing param values is not allowed" in message


def test_a_value_that_is_no_number_comes_back_as_none(client):
    said = client("""
        with mlflow.start_run() as run:
            mlflow.log_metrics({"nan": float("nan"), "small": 5e-324, "large": 1.5e308})
            mlflow.log_metric("inf", float("inf"))
        said["metrics"] = mlflow.get_run(run.info.run_id).data.metrics
        said["history"] = mlflow.MlflowClient().get_metric_history(run.info.run_id, "nan")[0].value
    """)
    metrics = said["metrics"]
    assert math.isnan(metrics["nan"])
    assert math.isnan(said["history"])
    assert (metrics["small"], metrics["large"]) == (5e-324, 1.5e308)
    assert metrics["inf"] >= 1.7976931348623157e308


def test_the_client_splits_what_is_too_long_for_one_batch(client):
    said = client("""
        from mlflow.entities import Metric
        with mlflow.start_run() as run:
            mlflow.log_params({f"p{n}": n for n in range(250)})
            api = mlflow.MlflowClient()
            api.log_batch(run.info.run_id, metrics=[Metric("m", n / 2, 1000 + n, n) for n in range(1000)])
            api.log_batch(run.info.run_id, metrics=[Metric("m", n / 2, 1000 + n, n) for n in range(1000, 1500)])
        said["params"] = len(mlflow.get_run(run.info.run_id).data.params)
        said["history"] = [m.value for m in api.get_metric_history(run.info.run_id, "m")]
    """)
    assert said["params"] == 250
    assert said["history"] == [number / 2 for number in range(1500)]
    assert said.calls.count("POST runs/log-batch") == 5


def test_metrics_may_be_sent_from_behind(client):
    said = client("""
        with mlflow.start_run() as run:
            for step in range(40): mlflow.log_metric("loss", step, step=step, synchronous=False)
            mlflow.flush_async_logging()
        said["steps"] = [m.step for m in mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")]
    """)
    assert said["steps"] == list(range(40))


def test_a_dataset_that_a_run_read(client):
    said = client("""
        table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
        data = mlflow.data.from_pandas(table, source="/data/wine.csv", name="wine")
        with mlflow.start_run() as run:
            mlflow.log_input(data, context="training")
            mlflow.log_input(data, context="training")
        kept = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
        said["inputs"] = [one.to_dictionary() for one in kept]
        said["digest"] = data.digest
    """)
    (one,) = said["inputs"]
    assert (one["dataset"]["name"], one["dataset"]["digest"]) == ("wine", said["digest"])
    assert one["tags"] == {"mlflow.data.context": "training"}
    assert "POST runs/log-inputs" in said.calls


def test_a_deleted_run_takes_no_more_until_it_is_restored(client):
    said = client("""
        from mlflow.exceptions import MlflowException
        with mlflow.start_run() as run: pass
        api = mlflow.MlflowClient()
        api.delete_run(run.info.run_id)
        said["stage"] = api.get_run(run.info.run_id).info.lifecycle_stage
        try: api.log_metric(run.info.run_id, "loss", 1)
        except MlflowException as refused: said["refused"] = [refused.error_code, refused.message]
        api.restore_run(run.info.run_id)
        api.log_metric(run.info.run_id, "loss", 1)
        said["metrics"] = api.get_run(run.info.run_id).data.metrics
    """)
    assert said["stage"] == "deleted"
    assert said["refused"][0] == "INVALID_PARAMETER_VALUE"
    assert "must be in the 'active' state" in said["refused"][1]
    assert said["metrics"] == {"loss": 1.0}


def test_runs_within_a_run_and_a_run_taken_up_again(client):
    said = client("""
        mlflow.set_experiment("nested by client")
        with mlflow.start_run(run_name="outer") as outer:
            with mlflow.start_run(run_name="inner", nested=True) as inner: mlflow.log_metric("m", 1)
        with mlflow.start_run(run_id=outer.info.run_id):
            mlflow.log_metric("later", 2)
        said["outer"] = mlflow.get_run(outer.info.run_id).to_dictionary()
        said["parent"] = mlflow.get_parent_run(inner.info.run_id).info.run_id
    """)
    assert said["parent"] == said["outer"]["info"]["run_id"]
    assert said["outer"]["info"]["status"] == "FINISHED"
    assert said["outer"]["data"]["metrics"] == {"later": 2.0}
