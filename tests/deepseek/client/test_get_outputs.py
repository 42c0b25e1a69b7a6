from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db(transaction=True)
BYTES = b"what came out\n" * 1000


@pytest.fixture
def ended(running, succeed, held):
    """A job with the output `note`, whose file is called note.txt."""
    return succeed(running, held(BYTES).digest)


def test_output_into_a_folder(cli, ended, tmp_path):
    run = cli("get", ended.pk, "note", "-o", "out")
    assert (run.returncode, run.stdout) == (0, "out/note.txt\n")
    assert (tmp_path / "out/note.txt").read_bytes() == BYTES
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["note.txt"]


def test_all_outputs(cli, ended):
    assert cli("get", ended.pk, "-o", "out").stdout == "out/note.txt\n"


def test_file_that_is_there_already(cli, ended, tmp_path, say_end):
    assert [cli("get", ended.pk, "note", "-o", "out").returncode for _ in range(2)] == [0, 0]
    (tmp_path / "out/note.txt").write_text("mine")
    say_end(cli("get", ended.pk, "note", "-o", "out"), 2, "is there already, with other content", "hint:")
    assert (tmp_path / "out/note.txt").read_text() == "mine"


def test_output_that_is_not_there(cli, ended, submit, say_end):
    say_end(cli("get", ended.pk, "nothing"), 2, "has no output 'nothing'", "limit: note")
    say_end(cli("get", submit().pk, "note"), 2, "limit: none: the job is queued", "hint: Wait")


def test_other_project(cli, ended, stranger, say_end, tmp_path):
    say_end(cli("get", ended.pk, "note", "-o", "out", who=stranger), 2)
    assert not (tmp_path / "out").exists()
