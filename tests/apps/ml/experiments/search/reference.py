"""Answers of MLflow's own store: JSON {runs, cases} on stdin, [[run ids] or error text] on stdout.

Run by an interpreter that has `mlflow`, with the folder of its database as the argument. Knows nothing of this project.
"""

import json
import sys

from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels import models as rows
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

KEPT = set()


def main(folder):
    asked = json.load(sys.stdin)
    store = SqlAlchemyStore(f"sqlite:///{folder}/reference.db", f"{folder}/artifacts")
    for name in ("one", "two"):
        store.create_experiment(name, artifact_location="mlflow-artifacts:/" + ("1" if name == "one" else "2"))
    with store.ManagedSessionMaker(read_only=False) as session:
        for run in asked["runs"]:
            session.add_all(list(rows_of(run)))
    json.dump([answer(store, case) for case in asked["cases"]], sys.stdout)


def rows_of(run):
    ident = run["id"]
    yield rows.SqlRun(
        run_uuid=ident,
        name=run["name"],
        experiment_id=int(run["experiment"]),
        user_id=run["user"],
        status=run["status"],
        start_time=run["start"],
        end_time=run["end"],
        lifecycle_stage="deleted" if run["deleted"] else "active",
        artifact_uri=f"mlflow-artifacts:/{run['experiment']}/{ident}/artifacts",
        source_type="UNKNOWN",
    )
    for key, value in run["metrics"].items():
        nan = value == "NaN"
        number = 0 if nan else value
        yield rows.SqlLatestMetric(run_uuid=ident, key=key, value=number, is_nan=nan, timestamp=1, step=0)
    for key, value in run["params"].items():
        yield rows.SqlParam(run_uuid=ident, key=key, value=value)
    for key, value in {**run["tags"], "mlflow.runName": run["name"]}.items():
        yield rows.SqlTag(run_uuid=ident, key=key, value=value)
    for dataset in run["datasets"]:
        name = f"{run['experiment']}-{dataset['name']}-{dataset['digest']}"
        if name not in KEPT:
            KEPT.add(name)
            kept = {"dataset_uuid": name, "experiment_id": int(run["experiment"])}
            kept |= {"name": dataset["name"], "digest": dataset["digest"]}
            yield rows.SqlDataset(**kept, dataset_source_type="local", dataset_source="{}")
        ends = {"source_id": name, "destination_type": "RUN", "destination_id": ident}
        yield rows.SqlInput(input_uuid=ident, source_type="DATASET", **ends)
        if dataset["context"]:
            yield rows.SqlInputTag(input_uuid=ident, name="mlflow.data.context", value=dataset["context"])


def answer(store, case):
    try:
        found = store.search_runs(
            case["experiments"], case["filter"], ViewType.from_string(case["view"].lower()), 1000, case["order_by"]
        )
    except MlflowException as error:
        return error.message
    return [run.info.run_id for run in found]


main(sys.argv[1])
