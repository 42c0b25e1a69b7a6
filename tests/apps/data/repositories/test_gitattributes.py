from __future__ import annotations

import pytest

from apps.data.repositories.gitattributes import ATTRIBUTES, LFS, add_lfs_lines, build_pattern, is_git_file


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
    assert build_pattern(path) == pattern


def test_csv_and_parquet_are_there_from_the_start():
    assert add_lfs_lines({}, [])[ATTRIBUTES] == f"*.csv {LFS}\n*.parquet {LFS}\n"


def test_what_somebody_wrote_stays():
    kept = {ATTRIBUTES: f"*.csv {LFS}\n# mine", ".gitignore": "*.pyc\n"}
    found = add_lfs_lines(kept, ["x.bin"])
    assert found[ATTRIBUTES] == f"*.csv {LFS}\n# mine\n*.parquet {LFS}\n*.bin {LFS}\n"
    assert found[".gitignore"] == "*.pyc\n"
    assert add_lfs_lines(found, ["y.bin"]) == found


def test_files_of_git_itself_are_none_of_a_version():
    assert is_git_file("a/.gitattributes")
    assert is_git_file(".lfsconfig")
    assert not is_git_file("gitattributes")
