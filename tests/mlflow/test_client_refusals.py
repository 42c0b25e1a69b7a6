"""Who may not is told so in MLflow's own words: the client raises its own exception, at once."""

import pytest

TRY = """
    from mlflow.exceptions import MlflowException
    try: mlflow.search_experiments()
    except MlflowException as refused: said["refused"] = [refused.error_code, refused.message]
    said["calls"] = 1
"""


@pytest.fixture
def experiment(client) -> str:
    """The name of an experiment of the engineer's project."""
    client('mlflow.set_experiment("for all of the project")')
    return "for all of the project"


@pytest.mark.parametrize("token", ["dso_wrong", ""], ids=["wrong", "none"])
def test_no_valid_token_is_unauthenticated(client, token):
    said = client(TRY, token=token)
    assert said["refused"][0] == "UNAUTHENTICATED"
    assert said.calls == ["GET experiments/search 401"] or said.calls == ["POST experiments/search 401"]


def test_name_and_password_of_the_client_carry_the_token(client, plane, experiment):
    said = client(
        "said['names'] = [one.name for one in mlflow.search_experiments()]",
        token="",
        MLFLOW_TRACKING_USERNAME="engineer",
        MLFLOW_TRACKING_PASSWORD=plane.token,
    )
    assert experiment in said["names"]


def test_a_viewer_reads_and_writes_nothing(client, plane, experiment):
    said = client(
        """
        from mlflow.exceptions import MlflowException
        said["names"] = [one.name for one in mlflow.search_experiments()]
        try: mlflow.create_experiment("by a viewer")
        except MlflowException as refused: said["refused"] = [refused.error_code, refused.message]
        """,
        token=plane.viewer,
    )
    assert experiment in said["names"]
    assert said["refused"][0] == "PERMISSION_DENIED"


def test_another_projects_token_sees_another_project(client, plane):
    run = client("""
        mlflow.set_experiment("secret by client")
        with mlflow.start_run() as run: mlflow.log_text("secret", "a.txt")
        mlflow.MlflowClient().create_registered_model("secretnet")
        said["run"], said["uri"] = run.info.run_id, run.info.artifact_uri
        said["experiment"] = run.info.experiment_id
    """)
    said = client(
        f"""
        from mlflow.exceptions import MlflowException
        said["experiment"] = mlflow.get_experiment_by_name("secret by client")
        said["models"] = [m.name for m in mlflow.search_registered_models()]
        for name, ask in dict(
            run=lambda: mlflow.get_run({run["run"]!r}),
            tag=lambda: mlflow.MlflowClient().set_tag({run["run"]!r}, "a", "b"),
            file=lambda: mlflow.artifacts.load_text({run["uri"] + "/a.txt"!r}),
            model=lambda: mlflow.MlflowClient().get_registered_model("secretnet"),
        ).items():
            try: said[name] = str(ask())
            except MlflowException as refused: said[name] = refused.error_code
        """,
        token=plane.other,
    )
    assert (said["experiment"], said["models"]) == (None, [])
    assert (said["run"], said["tag"], said["model"]) == ("RESOURCE_DOES_NOT_EXIST",) * 3
    assert "secret" not in said["file"]


def test_prompts_are_refused_and_leave_nothing(client):
    said = client("""
        from mlflow.exceptions import MlflowException
        try: mlflow.genai.register_prompt("greeting", "Hello {{name}}", tags={"team": "vision"})
        except MlflowException as refused: said["refused"] = [refused.error_code, refused.message]
        try: mlflow.MlflowClient().get_registered_model("greeting")
        except MlflowException as refused: said["left"] = refused.error_code
    """)
    code, message = said["refused"]
    assert (code, said["left"]) == ("NOT_IMPLEMENTED", "RESOURCE_DOES_NOT_EXIST")
    assert "keeps no prompts" in message
