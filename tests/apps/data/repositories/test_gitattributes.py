from __future__ import annotations

import pytest

from apps.data.repositories.gitattributes import ATTRIBUTES, LFS, is_kept, pattern_for, with_lines_for


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("a/b.csv", "*.csv"),
        ("a.tar.gz", "*.gz"),
        ("LICENSE", "/LICENSE"),
        ("a b/[x].?", "/a[[:space:]]b/[[]x[]].[?]"),
        (".hidden", "/.hidden"),
    ],
)
def test_the_pattern_of_a_path(path, pattern):
    assert pattern_for(path) == pattern


def test_csv_and_parquet_are_there_from_the_start():
    assert with_lines_for({}, [])[ATTRIBUTES] == f"*.csv {LFS}\n*.parquet {LFS}\n"


def test_what_somebody_wrote_stays():
    kept = {ATTRIBUTES: f"*.csv {LFS}\n# mine", ".gitignore": "*.pyc\n"}
    found = with_lines_for(kept, ["x.bin"])
    assert found[ATTRIBUTES] == f"*.csv {LFS}\n# mine\n*.parquet {LFS}\n*.bin {LFS}\n"
    assert found[".gitignore"] == "*.pyc\n"
    assert with_lines_for(found, ["y.bin"]) == found


def test_files_of_git_itself_are_none_of_a_version():
    assert is_kept("a/.gitattributes")
    assert is_kept(".lfsconfig")
    assert not is_kept("gitattributes")
