"""Held-out rows: written once, and checked against the model that they are to measure."""

import numpy as np
import pytest
import safetensors.numpy

from deepseek.job import EngineError
from deepseek.models.heldout import HELDOUT_NAME, Heldout, read_heldout, write_heldout
from tests.deepseek.models.making import make_model

GOOD = {"features": np.ones((4, 5), np.float32), "target": np.ones(4, np.float32)}


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_rows_come_back_as_they_were(tmp_path, task):
    manifest = make_model(tmp_path, task=task, rows=7)
    rows = read_heldout(tmp_path / HELDOUT_NAME, manifest)
    assert rows.features.shape == (7, 5)
    assert rows.target.dtype == (np.int64 if task == "classification" else np.float32)
    write_heldout(rows, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / HELDOUT_NAME).read_bytes()


def test_a_view_is_written_as_what_it_shows(tmp_path):
    manifest = make_model(tmp_path)
    windows = np.lib.stride_tricks.sliding_window_view(np.arange(9, dtype=np.float32), 5)
    write_heldout(Heldout(windows, np.zeros(5, np.float32)), tmp_path / "views")
    assert np.array_equal(read_heldout(tmp_path / "views", manifest).features, windows)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ({"features": np.ones((4, 6), np.float32)}, "features: float32 (4, 6)"),
        ({"features": np.ones((4, 5))}, "features: float64 (4, 5)"),
        ({"target": np.ones(3, np.float32)}, "target: float32 (3,)"),
        ({"target": np.ones(4, np.int64)}, "target: int64 (4,)"),
        ({"target": np.ones((4, 1), np.float32)}, "target: float32 (4, 1)"),
        ({"features": np.full((4, 5), np.nan, np.float32)}, "a value that is missing or infinite"),
        ({"features": np.ones((0, 5), np.float32), "target": np.ones(0, np.float32)}, "features: float32 (0, 5)"),
        ({"target": None}, "target: float64 (0,)"),
        ({"features": None}, "features: float64 (0,)"),
    ],
)
def test_rows_that_do_not_fit(tmp_path, change, value):
    manifest = make_model(tmp_path)
    tensors = {name: tensor for name, tensor in (GOOD | change).items() if tensor is not None}
    safetensors.numpy.save_file(tensors, tmp_path / "rows")
    with pytest.raises(EngineError) as caught:
        read_heldout(tmp_path / "rows", manifest)
    assert (caught.value.code, caught.value.value) == ("heldout_mismatch", value)


@pytest.mark.parametrize("code", [-1, 2])
def test_a_class_that_there_is_not(tmp_path, code):
    manifest = make_model(tmp_path, task="classification")
    write_heldout(Heldout(GOOD["features"], np.array([0, 1, 1, code])), tmp_path / "rows")
    with pytest.raises(EngineError) as caught:
        read_heldout(tmp_path / "rows", manifest)
    assert (caught.value.code, caught.value.value) == ("heldout_mismatch", f"class {code}")


@pytest.mark.parametrize("content", [b"", b"no", None])
def test_a_file_that_is_none(tmp_path, content):
    manifest = make_model(tmp_path)
    if content is not None:
        (tmp_path / "rows").write_bytes(content)
    with pytest.raises(EngineError) as caught:
        read_heldout(tmp_path / "rows", manifest)
    assert caught.value.code == "heldout_unreadable"
