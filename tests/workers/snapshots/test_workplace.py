"""Private folders: one that a process holds stays, one that nobody holds goes, and nothing else does."""

from workers.snapshots.workplace import open_folder


def test_folders_of_the_living_stay_and_those_of_the_dead_go(tmp_path):
    abandoned = tmp_path / "work-1"
    (abandoned / "keys").mkdir(parents=True)
    (tmp_path / "work-file").write_text("")
    (tmp_path / "of-somebody").mkdir()
    with open_folder(tmp_path, "work-") as first:
        (first / "dump").write_text("rows")
        with open_folder(tmp_path, "work-") as second:
            assert second != first
            assert (first / "dump").read_text() == "rows"
            assert first.stat().st_mode & 0o077 == 0
            assert not abandoned.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["of-somebody", "work-file"]
