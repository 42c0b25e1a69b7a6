"""What becomes of a site's table, and which tables are refused."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.federated.errors import FederationError
from deepseek.federated.features import read_site_data
from tests.deepseek.federated.hospitals import build_heart_study, write_tables


@pytest.fixture
def read(tmp_path, build_study):
    """read(rows of text, header) -> SiteData of a small CSV file."""

    def read_text(rows, header="age,sex,ill"):
        path = tmp_path / "table.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return read_site_data(path, build_study().schema_, holdout=0.25, seed=0)

    return read_text


GOOD = ["0,f,no", "50,m,yes", "100,,no", ",f,yes", "101,x,no"] * 8


def test_rows_become_inputs_by_the_bounds_of_the_study_alone(read):
    data = read(GOOD)
    rows = np.unique(np.concatenate([data.training.inputs, data.holdout.inputs]), axis=0).tolist()
    assert sorted(rows) == sorted([[-1, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]])
    assert (len(data.training), len(data.holdout)) == (30, 10)
    assert data.outside == {"age": 8, "sex": 8}
    assert read(GOOD).training.inputs.tolist() == data.training.inputs.tolist()


@pytest.mark.parametrize(
    ("rows", "header", "code"),
    [
        (GOOD, "age,sex,sick", "schema_mismatch"),
        ([row.replace("yes", "ja").replace("no", "nein") for row in GOOD], "age,sex,ill", "schema_mismatch"),
        ([f"{i + 1000}.5,f,no" for i in range(40)], "age,sex,ill", "schema_mismatch"),
        (["old,f,no"] * 40, "age,sex,ill", "schema_mismatch"),
        (GOOD[:10], "age,sex,ill", "too_few_labels"),
        ([], "age,sex,ill", "table_empty"),
    ],
)
def test_a_table_that_is_not_the_study_s_is_refused(read, rows, header, code):
    from deepseek.job import EngineError

    with pytest.raises(EngineError) as caught:
        read(rows, header)
    assert caught.value.code == code
    assert caught.value.hint
    assert isinstance(caught.value, FederationError) or code == "table_empty"


def test_four_hospitals_fit_one_schema(tmp_path):
    study = build_heart_study()
    rows = {}
    for site, path in write_tables(tmp_path).items():
        data = read_site_data(path, study.schema_, holdout=study.holdout, seed=study.seed)
        rows[site] = len(data.training) + len(data.holdout)
        assert data.training.inputs.shape[1] == study.schema_.inputs
    assert rows == {"cleveland": 304, "hungary": 293, "switzerland": 123, "longbeach": 200}
