"""From which row of the input a row of the output comes."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.clean.origins import INSERTED_ROW, OriginRuns
from deepseek.clean.run import run
from deepseek.clean.spec import CleanSpec
from deepseek.job import Silent

TEXT = "d,x\n" + "".join(f"2024-01-{day:02d},{day}\n" for day in (1, 2, 3, 6, 7, 8))


@pytest.fixture
def runs_of(write, tmp_path):
    def runs_of(*steps):
        result = run(CleanSpec(steps=list(steps)), inputs={"table": write(TEXT)}, out=tmp_path / "out", report=Silent())
        if result.outputs[0].meta["origins"] == "kept":
            assert len(result.outputs) == 3
            return "kept"
        output = result.outputs[3]
        assert (output.slot, output.media_type) == ("origins", "application/vnd.plane.row-origins")
        return np.frombuffer((tmp_path / "out" / output.path).read_bytes(), dtype="<u8").reshape(-1, 2).tolist()

    return runs_of


def test_steps_that_move_no_row_keep_them(runs_of):
    assert runs_of({"kind": "fill_median"}) == "kept"


def test_a_filter_that_drops_nothing_keeps_them(runs_of):
    assert runs_of({"kind": "filter", "conditions": [{"column": "x", "op": "gt", "value": "0"}]}) == "kept"


def test_rows_that_are_dropped(runs_of):
    assert runs_of({"kind": "filter", "conditions": [{"column": "x", "op": "ne", "value": "3"}]}) == [[0, 0], [2, 3]]


def test_rows_that_are_inserted(runs_of):
    assert runs_of({"kind": "regularise", "column": "d"}) == [[0, 0], [3, INSERTED_ROW], [5, 3]]


@given(st.lists(st.one_of(st.none(), st.integers(0, 5)), min_size=1, max_size=20), st.integers(1, 5))
def test_runs_unfold_to_the_origins(origins, size):
    runs = OriginRuns()
    for start in range(0, len(origins), size):
        runs.add(pa.array(origins[start : start + size], pa.int64()))
    found = []
    for (row, source), end in zip(runs.runs.tolist(), [*runs.runs[1:, 0].tolist(), len(origins)], strict=True):
        found += [None if source == INSERTED_ROW else source + place for place in range(end - row)]
    assert found == origins
