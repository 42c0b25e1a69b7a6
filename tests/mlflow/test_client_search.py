"""The search of runs, by the stock client; experiments, models, versions and logged models have theirs beside them."""

MAKE = """
    number = mlflow.set_experiment(NAME).experiment_id
    for n in range(7):
        with mlflow.start_run(run_name=f"run-{n}", tags={"team": "a" if n % 2 else "b", "a key": str(n)}):
            mlflow.log_metrics({"acc": n / 10, "odd name": n})
            if n < 5: mlflow.log_param("lr", f"0.{n}")
    def names(filter_string="", **more):
        found = mlflow.search_runs(experiment_names=[NAME], filter_string=filter_string, output_format="list", **more)
        return [run.info.run_name for run in found]
"""


def made(name: str) -> str:
    return MAKE.replace("NAME", repr(name))


FILTERS = {
    "metrics.acc > 0.35": "4 5 6",
    "metrics.acc >= 0.1 and metrics.acc < 0.3": "1 2",
    "metrics.`odd name` = 3": "3",
    "params.lr = '0.2'": "2",
    "params.lr LIKE '0.%'": "0 1 2 3 4",
    "params.lr != '0.2'": "0 1 3 4",
    "params.lr IS NULL": "5 6",
    "tags.team = 'a' AND metrics.acc > 0.2": "3 5",
    "tags.`a key` ILIKE '4'": "4",
    "attributes.run_name LIKE 'run-%'": "0 1 2 3 4 5 6",
    "run_name = 'run-6'": "6",
    "attributes.status = 'FINISHED' and attributes.start_time > 0": "0 1 2 3 4 5 6",
    "status = 'FAILED'": "",
}


def test_filters_find_what_they_say(client):
    said = client(made("filters by client") + f"    said['found'] = {{f: names(f) for f in {list(FILTERS)!r}}}")
    found = {asked: " ".join(sorted(name[-1] for name in names)) for asked, names in said["found"].items()}
    assert found == FILTERS
    assert said.calls[-2:] == ["GET experiments/get-by-name", "POST runs/search"]


def test_orders_put_first_what_they_say(client):
    said = client(
        made("orders by client")
        + """
    said["newest"] = names()
    said["metric"] = names(order_by=["metrics.acc ASC"], max_results=3)
    said["down"] = names(order_by=["metrics.acc DESC"], max_results=3)
    said["param"] = names(order_by=["params.lr DESC", "metrics.acc DESC"])
    said["name"] = names(order_by=["attributes.run_name ASC"])
    """
    )
    ends = {name: "".join(run[-1] for run in runs) for name, runs in said.values.items()}
    assert ends == {"newest": "6543210", "metric": "012", "down": "654", "param": "4321065", "name": "0123456"}


def test_pages_hold_every_run_once(client):
    said = client(
        made("pages by client")
        + """
    token, pages = None, []
    while token != "":
        page = mlflow.MlflowClient().search_runs(
            [number], order_by=["metrics.acc DESC"], max_results=3, page_token=token)
        pages.append([run.info.run_name for run in page])
        token = page.token or ""
    said["pages"] = pages
    """
    )
    assert said["pages"] == [["run-6", "run-5", "run-4"], ["run-3", "run-2", "run-1"], ["run-0"]]


def test_a_table_of_runs_has_a_column_for_each_name(client):
    said = client(
        made("table by client")
        + """
    table = mlflow.search_runs(experiment_names=["table by client"], order_by=["metrics.acc ASC"])
    said["columns"], said["acc"] = list(table.columns), list(table["metrics.acc"])
    """
    )
    assert {"run_id", "metrics.acc", "metrics.odd name", "params.lr", "tags.team"} <= set(said["columns"])
    assert said["acc"] == [n / 10 for n in range(7)]


def test_a_bad_filter_is_an_error_that_says_so(client):
    said = client("""
        from mlflow.exceptions import MlflowException
        refused = said["refused"] = {}
        for asked in ("params.lr > '1'", "nothing.a = 'b'", "metrics.acc = 'x'", "params.lr = '1' OR params.lr = '2'"):
            try: mlflow.search_runs(experiment_ids=["0"], filter_string=asked)
            except MlflowException as error: refused[asked] = error.error_code
    """)
    assert said["refused"] == dict.fromkeys(
        ("params.lr > '1'", "nothing.a = 'b'", "metrics.acc = 'x'", "params.lr = '1' OR params.lr = '2'"),
        "INVALID_PARAMETER_VALUE",
    )


def test_a_filter_may_name_many_runs(client):
    """By POST as of runs, and in the address as of versions, which MLflow's own server takes up to 64 KB of."""
    said = client(
        made("many ids by client")
        + """
    api = mlflow.MlflowClient()
    run = mlflow.search_runs(experiment_names=["many ids by client"], output_format="list")[0].info
    ids = ", ".join(f"'{one:032x}'" for one in range(1000)) + f", '{run.run_id}'"
    said["runs"] = names(f"attributes.run_id IN ({ids})")
    api.create_registered_model("many-ids")
    api.create_model_version("many-ids", run.artifact_uri + "/model", run.run_id)
    said["versions"] = [one.name for one in api.search_model_versions(f"run_id IN ({ids})")]
    """
    )
    assert (said["runs"], said["versions"]) == (["run-6"], ["many-ids"])
