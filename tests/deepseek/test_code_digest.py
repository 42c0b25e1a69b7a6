"""The digest of the engine's source."""

import shutil
from pathlib import Path

import deepseek
from deepseek.code import _hash_sources, compute_code_digest


def test_it_is_a_digest_of_the_source_and_of_nothing_else(tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(Path(deepseek.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "notes.txt").write_text("not source")
    compute_code_digest.cache_clear()  # a source file may have been saved since another test asked
    assert _hash_sources(copy) == compute_code_digest()
    assert len(compute_code_digest()) == 64


def test_a_byte_or_a_name_changes_it(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("")
    first = _hash_sources(tmp_path)
    (tmp_path / "a.py").write_text("x = 2\n")
    second = _hash_sources(tmp_path)
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    assert len({first, second, _hash_sources(tmp_path)}) == 3
