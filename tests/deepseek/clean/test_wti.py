"""A real series: the daily WTI oil price, 8,611 rows of which 290 are missing (shipped with the package arch)."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from arch.data import wti

from deepseek.clean import sliding_median_fill
from deepseek.clean.run import run
from deepseek.clean.spec import CleanSpec
from deepseek.job import Silent


@pytest.fixture(scope="module")
def prices():
    return wti.load()


def test_csv_of_the_series_is_filled_as_the_function_does(prices, tmp_path):
    prices.to_csv(tmp_path / "wti.csv")
    result = run(CleanSpec(), inputs={"table": tmp_path / "wti.csv"}, out=tmp_path / "out", report=Silent())
    (name,) = result.filled
    column = pq.read_table(tmp_path / "out/table.parquet").column(name)
    wanted = sliding_median_fill(prices[name].to_numpy(), 5)
    assert result.rows == 8611
    assert result.filled[name] == 290 - int(np.isnan(wanted).sum())
    assert np.array_equal(column.to_numpy(), wanted, equal_nan=True)


def test_no_price_is_invented_far_from_its_neighbours(prices):
    series = prices.iloc[:, 0]
    filled = sliding_median_fill(series, 11)
    assert series.isna().sum() == 290
    assert filled.isna().sum() == 0
    assert filled.index.equals(series.index)
    assert filled.between(series.min(), series.max()).all()
