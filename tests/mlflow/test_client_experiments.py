"""Experiments, by the stock client."""


def test_a_new_experiment_is_looked_up_then_made(client):
    said = client("""
        made = mlflow.set_experiment("wine by client")
        said["made"] = dict(made)
        said["again"] = mlflow.set_experiment("wine by client").experiment_id
    """)
    assert said["made"]["name"] == "wine by client"
    assert said["made"]["lifecycle_stage"] == "active"
    assert said["again"] == said["made"]["experiment_id"]
    assert said.calls[:3] == ["GET experiments/get-by-name 404", "POST experiments/create", "GET experiments/get"]


def test_a_fresh_project_lists_the_default_one(client, plane):
    said = client(
        "said['found'] = [(one.experiment_id, one.name) for one in mlflow.search_experiments()]", token=plane.other
    )
    assert ["0", "Default"] in said["found"]


def test_a_run_without_an_experiment_is_of_the_default_one(client):
    said = client("""
        with mlflow.start_run() as run:
            said["experiment"] = run.info.experiment_id
        said["name"] = mlflow.get_experiment("0").name
    """)
    assert (said["experiment"], said["name"]) == ("0", "Default")
    assert said.calls == ["POST runs/create", "POST runs/update", "GET experiments/get"]


def test_tags_a_new_name_and_a_search(client):
    said = client("""
        api = mlflow.MlflowClient()
        number = mlflow.create_experiment("fruit by client", tags={"team": "vision"})
        mlflow.set_experiment(experiment_id=number)
        mlflow.set_experiment_tag("stage", "early")
        api.rename_experiment(number, "vegetables by client")
        found = mlflow.search_experiments(filter_string="name = 'vegetables by client' AND tags.team = 'vision'")
        said["found"] = [dict(one) for one in found]
        said["by_name"] = mlflow.get_experiment_by_name("fruit by client")
        api.delete_experiment_tag(number, "stage")
        said["left"] = mlflow.get_experiment(number).tags
    """)
    (found,) = said["found"]
    assert found["tags"] == {"team": "vision", "stage": "early"}
    assert said["by_name"] is None
    assert said["left"] == {"team": "vision"}


def test_a_deleted_experiment_can_be_restored(client):
    said = client("""
        from mlflow.entities import ViewType
        number = mlflow.create_experiment("gone by client")
        with mlflow.start_run(experiment_id=number) as run: pass
        mlflow.delete_experiment(number)
        gone = mlflow.search_experiments(view_type=ViewType.DELETED_ONLY)
        said["gone"] = [one.name for one in gone]
        said["run"] = mlflow.get_run(run.info.run_id).info.lifecycle_stage
        mlflow.MlflowClient().restore_experiment(number)
        said["stages"] = [mlflow.get_experiment(number).lifecycle_stage,
                          mlflow.get_run(run.info.run_id).info.lifecycle_stage]
    """)
    assert "gone by client" in said["gone"]
    assert said["run"] == "deleted"
    assert said["stages"] == ["active", "active"]


def test_experiments_come_in_pages(client):
    said = client("""
        for number in range(5): mlflow.create_experiment(f"paged-{number}")
        api, token, pages = mlflow.MlflowClient(), None, []
        while token != "":
            page = api.search_experiments(filter_string="name LIKE 'paged-%'", max_results=2, order_by=["name"],
                                          page_token=token)
            pages.append([one.name for one in page])
            token = page.token or ""
        said["pages"] = pages
    """)
    assert said["pages"] == [["paged-0", "paged-1"], ["paged-2", "paged-3"], ["paged-4"]]
