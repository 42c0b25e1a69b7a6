from __future__ import annotations

import pytest

from apps.data.datasets.models import DatasetVersion
from deepseek.client import ClientError

pytestmark = pytest.mark.django_db(transaction=True)
TABLE = "day,price\n1,70.1\n2,\n3,71.4\n"


@pytest.fixture
def table(write):
    return write(TABLE, "prices.csv")


def test_table_becomes_a_version(cli, table):
    run = cli("data", "put", "prices", table, "--note", "first")
    assert (run.returncode, run.stdout) == (0, "prices:v1\n")
    version = DatasetVersion.objects.get()
    assert (version.rows, version.note, version.media_type) == (3, "first", "text/csv")


def test_equal_bytes_are_the_version_that_there_is(cli, table, write):
    runs = [cli("data", "put", "prices", table) for _ in range(2)]
    assert [run.stdout for run in runs] == ["prices:v1\n"] * 2
    assert "are a version already" in runs[1].stderr
    assert cli("data", "put", "prices", write(TABLE + "4,2\n", "more.csv")).stdout == "prices:v2\n"


def test_folder_becomes_a_version_of_its_files(plane, tmp_path):
    for name in ("pictures/b/1.png", "pictures/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    version, is_new = plane.dataset("pictures").upload(tmp_path / "pictures")
    assert is_new
    assert [file["path"] for file in version["files"]] == ["a.txt", "b/1.png"]
    assert not plane.dataset("pictures").upload(tmp_path / "pictures")[1]


def test_delimiter_is_passed_on(plane, write):
    version, _ = plane.dataset("prices").upload(write("a;b\n1,5;2\n"), delimiter=";")
    assert [column["name"] for column in version["columns"]] == ["a", "b"]


def test_what_is_no_table_is_refused_in_the_planes_words(cli, write, say_end):
    say_end(cli("data", "put", "prices", write("a,b\n1\n")), 2, "Row 2")
    assert not DatasetVersion.objects.exists()


def test_file_that_is_not_there(cli, say_end):
    say_end(cli("data", "put", "prices", "absent.csv"), 2, "There is no absent.csv", "field: FILE", "hint:")


def test_two_files_of_one_name(plane, tmp_path):
    for name in ("a/x", "b/x"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(ClientError, match="Two files would be called x"):
        plane.dataset("two").upload(tmp_path / "a/x", tmp_path / "b/x")


def test_who_may_not(cli, table, viewer, say_end):
    say_end(cli("data", "put", "prices", table, who=viewer), 2)
    assert not DatasetVersion.objects.exists()
