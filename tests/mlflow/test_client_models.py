"""Logged models and the registry, by the stock client: log, register, name, load."""

import json

import pytest

NET = """
    mlflow.set_experiment("models by client")
    net = torch.nn.Linear(3, 2)
    some = np.ones((1, 3), dtype=np.float32)
    def answer(uri):
        back = mlflow.pytorch.load_model(uri)
        return bool(torch.equal(back(torch.ones(1, 3)), net(torch.ones(1, 3))))
    def logged(**more):
        return mlflow.pytorch.log_model(net, name="model", input_example=some, serialization_format="pickle", **more)
"""


def test_a_logged_model_comes_back_from_wherever_it_is_named(client):
    said = client(
        NET
        + """
    with mlflow.start_run() as run:
        mlflow.log_metric("acc", 0.5)
        info = logged(params={"lr": 1}, tags={"team": "vision"})
    said["by_id"], said["by_run"] = answer(f"models:/{info.model_id}"), answer(f"runs:/{run.info.run_id}/model")
    kept = mlflow.get_logged_model(info.model_id)
    said["model"] = kept.to_dictionary() | {"status": str(kept.status)}
    said["metrics"] = [(metric.key, metric.value) for metric in kept.metrics]
    said["run"] = run.info.run_id
    said["outputs"] = [one.model_id for one in mlflow.get_run(run.info.run_id).outputs.model_outputs]
    said["id"] = info.model_id
    said["found"] = [one.model_id for one in mlflow.search_logged_models(
        filter_string=f"source_run_id = '{run.info.run_id}' AND name = 'model'", output_format="list")]
    """
    )
    assert (said["by_id"], said["by_run"]) == (True, True)
    model = said["model"]
    assert (model["name"], model["status"], model["source_run_id"]) == ("model", "READY", said["run"])
    assert (model["params"], model["tags"]["team"]) == ({"lr": "1"}, "vision")
    assert said["metrics"] == [["acc", 0.5]]
    assert said["outputs"] == [said["id"]] == said["found"]
    order = [said.calls.index(call) for call in ("POST logged-models", "POST runs/outputs", "GET metrics/get-history")]
    assert order == sorted(order)
    assert said.calls.count("PATCH logged-models/MODEL") == 1


def test_a_version_is_loaded_by_number_newest_alias_and_stage(client):
    said = client(
        NET
        + """
    api = mlflow.MlflowClient()
    with mlflow.start_run() as run:
        first = logged(registered_model_name="clientnet")
    second = mlflow.register_model(f"models:/{first.model_id}", "clientnet", tags={"team": "vision"})
    third = mlflow.register_model(f"runs:/{run.info.run_id}/model", "clientnet")
    api.set_registered_model_alias("clientnet", "champion", 2)
    said["numbers"] = [first.registered_model_version, second.version, third.version]
    said["loaded"] = [answer(f"models:/clientnet{how}") for how in ("@champion", "/1", "/latest")]
    by_alias = api.get_model_version_by_alias("clientnet", "champion")
    said["alias"] = [by_alias.version, by_alias.tags, first.model_id in by_alias.source, by_alias.status]
    api.delete_registered_model_alias("clientnet", "champion")
    said["aliases"] = api.get_registered_model("clientnet").aliases
    said["tags"] = mlflow.get_logged_model(first.model_id).tags
    """
    )
    assert [int(number) for number in said["numbers"]] == [1, 2, 3]
    assert said["loaded"] == [True, True, True]
    assert [int(said["alias"][0]), *said["alias"][1:]] == [2, {"team": "vision"}, True, "READY"]
    assert said["aliases"] == {}
    named = [(one["name"], int(one["version"])) for one in json.loads(said["tags"]["mlflow.modelVersions"])]
    assert set(named) == {("clientnet", number) for number in (1, 2, 3)}  # the third is of the run, made of this model
    assert "POST registered-models/create 400" in said.calls  # the name exists: the client expects to be told
    assert "GET model-versions/get-download-uri" in said.calls


def test_models_and_versions_are_described_tagged_found_and_deleted(client):
    said = client("""
        api = mlflow.MlflowClient()
        with mlflow.start_run() as run: pass
        for name in ("told-a", "told-b"):
            api.create_registered_model(name, tags={"team": "vision"}, description="Finds things")
        uri = f"{run.info.artifact_uri}/model"
        one = api.create_model_version("told-a", uri, run.info.run_id, tags={"k": "v"}, description="The first")
        api.update_registered_model("told-a", "Finds more")
        api.update_model_version("told-a", one.version, "Better told")
        api.set_registered_model_tag("told-a", "stage", "late")
        api.set_model_version_tag("told-a", one.version, "size", "3")
        api.delete_model_version_tag("told-a", one.version, "k")
        model, version = api.get_registered_model("told-a"), api.get_model_version("told-a", one.version)
        said["model"] = [model.description, model.tags]
        said["version"] = [version.description, version.tags, version.source == uri, version.run_id == run.info.run_id]
        said["models"] = [m.name for m in api.search_registered_models("name LIKE 'told-%'", order_by=["name DESC"])]
        said["pages"] = [len(api.search_registered_models("name LIKE 'told-%'", max_results=1)),
                         bool(api.search_registered_models("name LIKE 'told-%'", max_results=1).token)]
        said["versions"] = [v.version for v in api.search_model_versions("name = 'told-a'")]
        said["of_run"] = [v.name for v in api.search_model_versions(f"run_id = '{run.info.run_id}'")]
        api.rename_registered_model("told-b", "told-c")
        api.delete_model_version("told-a", one.version)
        api.delete_registered_model("told-a")
        said["left"] = [m.name for m in api.search_registered_models("name LIKE 'told-%'")]
    """)
    assert said["model"] == ["Finds more", {"team": "vision", "stage": "late"}]
    assert said["version"] == ["Better told", {"size": "3"}, True, True]
    assert (said["models"], said["pages"]) == (["told-b", "told-a"], [1, True])
    assert [int(number) for number in said["versions"]] == [1]
    assert (said["of_run"], said["left"]) == (["told-a"], ["told-c"])


def test_a_protected_alias_is_refused_in_the_clients_own_words(client):
    said = client("""
        from mlflow.exceptions import MlflowException, RestException
        api = mlflow.MlflowClient()
        with mlflow.start_run() as run: pass
        api.create_registered_model("guarded")
        api.create_model_version("guarded", f"{run.info.artifact_uri}/model", run.info.run_id)
        try: api.set_registered_model_alias("guarded", "production", 1)
        except MlflowException as refused: said["refused"] = [refused.error_code, refused.message]
        said["aliases"] = api.get_registered_model("guarded").aliases
    """)
    code, message = said["refused"]
    assert code == "PERMISSION_DENIED"
    assert "approv" in message
    assert said["aliases"] == {}


@pytest.mark.filterwarnings("ignore")
def test_stages_of_old_scripts(client):
    said = client("""
        api = mlflow.MlflowClient()
        with mlflow.start_run() as run: pass
        api.create_registered_model("staged")
        for number in (1, 2): api.create_model_version("staged", f"{run.info.artifact_uri}/model", run.info.run_id)
        api.transition_model_version_stage("staged", 1, "Staging")
        api.transition_model_version_stage("staged", 2, "Staging", archive_existing_versions=True)
        said["stages"] = [api.get_model_version("staged", n).current_stage for n in (1, 2)]
        said["latest"] = [(v.version, v.current_stage) for v in api.get_latest_versions("staged", stages=["Staging"])]
    """)
    assert said["stages"] == ["Archived", "Staging"]
    assert [(int(number), stage) for number, stage in said["latest"]] == [(2, "Staging")]
