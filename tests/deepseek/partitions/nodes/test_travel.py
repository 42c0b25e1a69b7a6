"""Paths in tasks become those of the same files on the other side."""

from pathlib import Path

import pytest

from deepseek.partitions.nodes.travel import Roots, pack, unpack


def test_each_side_has_paths_of_its_own():
    here = Roots(Path("/a/stage"), {"table": Path("/a/inputs/000"), "join": Path("/a/inputs/001")})
    there = Roots(Path("/b/scratch"), {"table": Path("/b/in/000"), "join": Path("/b/in/001")})
    task = {"folder": Path("/a/stage"), "parts": [Path("/a/inputs/000/x.parquet"), Path("/a/stage/kept-1")], "rows": 3}
    seen = []
    arrived = unpack(pack(task, here), there, seen.append)
    assert arrived == {
        "folder": Path("/b/scratch"),
        "parts": [Path("/b/in/000/x.parquet"), Path("/b/scratch/kept-1")],
        "rows": 3,
    }
    assert seen == [("scratch", ""), ("input/table", "x.parquet"), ("scratch", "kept-1")]
    assert unpack(pack(arrived, there), here) == task


def test_a_path_that_other_nodes_do_not_have_is_refused():
    with pytest.raises(RuntimeError, match="other nodes do not see /etc/passwd"):
        pack(Path("/etc/passwd"), Roots(Path("/a/stage"), {}))
