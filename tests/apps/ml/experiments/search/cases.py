"""Runs, and filters and orders over them: what this plane and MLflow's own store are asked alike.

Imported by the tests, and by reference.py inside an environment that has MLflow and not this project: no imports but
the standard library.
"""

from __future__ import annotations

import random

NAN = "NaN"  # JSON has no such number
LETTERS = [
    "vision",
    "Vision",
    "50% off",
    "a_b",
    "空 é",
    "it's",
    'say "x"',
    "",
    "[x]*?",
    "back\\slash",
    "0.1",
    "É",
    "tail ",
]
STATES = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
EXPERIMENTS = ["1", "2"]


def made_runs(seed: int = 7, count: int = 60) -> list[dict]:
    chance = random.Random(seed)
    runs = []
    for number in range(count):
        metrics = {
            key: chance.choice([0.1, 0.5, 0.5, 0.9, -1.5, 0.0, 1e12, NAN])
            for key in ("acc", "loss", "m.dot", "train/loss")
            if chance.random() < 0.7
        }
        start = 1_700_000_000_000 + chance.randrange(8) * 1000
        runs.append(
            {
                "id": "".join(chance.choices("0123456789abcdef", k=32)),
                "experiment": chance.choice(EXPERIMENTS),
                "name": chance.choice(["alpha", "Beta", "beta", "ünder", "x%y"]) + str(number % 7),
                "user": chance.choice(["", "ann", "Bob"]),
                "status": chance.choice(STATES),
                "start": start,
                "end": start + chance.randrange(3) * 500 if chance.random() < 0.6 else None,
                "deleted": chance.random() < 0.15,
                "metrics": metrics,
                "params": {key: chance.choice(LETTERS) for key in ("lr", "a b", "depth") if chance.random() < 0.6},
                "tags": {key: chance.choice(LETTERS) for key in ("team", "k.dot") if chance.random() < 0.6},
                "datasets": [
                    {
                        "name": chance.choice(["wine", "beer"]),
                        "digest": chance.choice(["abc", "def"]),
                        "context": context,
                    }
                    for context in chance.sample(["training", "eval", ""], chance.choice([0, 0, 1]))
                ],
            }
        )
    return runs


def made_cases(runs: list[dict], seed: int = 11, count: int = 400) -> list[dict]:
    """[{filter, order_by, view, experiments}], right ones and wrong ones."""
    chance = random.Random(seed)
    return [
        {
            "filter": " AND ".join(comparison(chance, runs) for _ in range(chance.choice([0, 1, 1, 1, 2, 3]))),
            "order_by": orders(chance),
            "view": chance.choice(["ACTIVE_ONLY", "ACTIVE_ONLY", "DELETED_ONLY", "ALL"]),
            "experiments": chance.choice([["1"], ["2"], ["1", "2"], ["2", "99"]]),
        }
        for _ in range(count)
    ]


def comparison(chance: random.Random, runs: list[dict]) -> str:
    kind = chance.choice(["metric", "metric", "text", "text", "null", "attribute", "moment", "dataset", "wrong"])
    if kind == "metric":
        key = chance.choice(["metrics.acc", "metric.`loss`", "metrics.m.dot", 'metrics."train/loss"', "`metrics`.acc"])
        number = chance.choice(["0.5", "0", "-1.5", "1e2", ".5", "0.1", "5e-1"])
        return f"{key} {chance.choice(['=', '!=', '>', '>=', '<', '<='])} {number}"
    if kind == "text":
        return f"{key_of_text(chance)} {chance.choice(['=', '!=', 'LIKE', 'like', 'ILIKE'])} {text(chance)}"
    if kind == "null":
        return f"{key_of_text(chance)} {chance.choice(['IS NULL', 'is not null', 'IS NOT NULL'])}"
    if kind == "attribute":
        return attribute(chance, runs)
    if kind == "moment":
        key = chance.choice(["start_time", "attributes.created", "end_time", "attr.`Created`"])
        number = chance.choice(["1700000003000", "1700000003500", "0", "1700000003000.5", "1700000002999"])
        return f"{key} {chance.choice(['=', '!=', '>', '>=', '<', '<='])} {number}"
    if kind == "dataset":
        key = chance.choice(["dataset.name", "datasets.digest", "dataset.context"])
        value = chance.choice(
            ["= 'wine'", "!= 'wine'", "LIKE 'w%'", "ILIKE 'ABC'", "IN ('wine', 'abc')", "NOT IN ('eval')"]
        )
        return f"{key} {value}"
    return chance.choice(
        [
            "metrics.acc = 'x'",
            "params.lr > '1'",
            "params.lr = 0.1",
            "nothing.a = 'b'",
            "metrics.acc IS NULL",
            "run_id IN ()",
            "user_id IN ('ann')",
            "dataset.colour = 'red'",
            "attributes.experiment_id = '1'",
            "metrics.acc > 0.1 OR metrics.acc < 0",
            "params.lr = 'x",
            "params.lr",
            "tags.a b = 'x'",
            "0.6 < metrics.acc",
            "start_time = '5'",
            "(params.lr = '0.1')",
        ]
    )


def key_of_text(chance: random.Random) -> str:
    return chance.choice(
        [
            "params.lr",
            "param.`a b`",
            'parameters."a b"',
            "tags.team",
            "tag.`k.dot`",
            "tags.k.dot",
            "tags.mlflow.runName",
        ]
    )


def text(chance: random.Random) -> str:
    value = chance.choice([*LETTERS, "v%", "%N", "_ision", "%空%", "é%", "5__ %", "%", "beta%", "[x]%", "%\\%"])
    return f'"{value}"' if "'" in value or (chance.random() < 0.3 and '"' not in value) else f"'{value}'"


def attribute(chance: random.Random, runs: list[dict]) -> str:
    ids = [run["id"] for run in chance.sample(runs, 3)]
    return chance.choice(
        [
            f"run_id = '{ids[0]}'",
            f"attributes.run_id != '{ids[0]}'",
            f"attributes.run_id IN ('{ids[0]}', '{ids[1]}', 'x')",
            f"run_id NOT IN ('{ids[0]}', '{ids[1]}')",
            f"run_id LIKE '{ids[0][:2]}%'",
            f"artifact_uri LIKE '%{ids[2]}%'",
            f"status = '{chance.choice(STATES)}'",
            f"status != '{chance.choice(STATES)}'",
            "attributes.status LIKE 'F%'",
            "status ILIKE 'f%'",
            "status = 'finished'",
            "user_id = 'ann'",
            "user_id ILIKE 'b%'",
            "run_name LIKE 'beta%'",
            "attributes.`run name` ILIKE 'BETA%'",
            "run.run_name = 'alpha0'",
            "run_name != 'alpha0'",
        ]
    )


def orders(chance: random.Random) -> list[str]:
    keys = [
        "metrics.acc",
        "metrics.`train/loss`",
        "metrics.nothing",
        "params.lr",
        "params.`a b`",
        "tags.team",
        "start_time",
        "attributes.end_time",
        "run_name",
        "status",
        "user_id",
        "run_id",
        "artifact_uri",
    ]
    found = [
        f"{key}{chance.choice(['', ' ASC', ' DESC', ' desc'])}"
        for key in chance.sample(keys, chance.choice([0, 1, 1, 1, 2, 3]))
    ]
    wrong = ["metrics.acc SIDEWAYS", "acc", "dataset.name", "", "metrics.acc asc desc"]
    return [*found, chance.choice(wrong)] if chance.random() < 0.05 else found
