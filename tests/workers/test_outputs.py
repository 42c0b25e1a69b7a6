import pytest

from apps.core.errors import PlaneError
from apps.platform.artifacts.stores import get_store
from workers.outputs import upload


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "missing", "link"])
def test_an_output_outside_its_folder_is_refused(tmp_path, path):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "outside").write_text("secret")
    (out / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(PlaneError) as refusal:
        upload(None, out, [{"slot": "x", "path": path, "media_type": "text/plain"}], lambda: None)
    assert refusal.value.code == "bad_output"


def test_folder_that_was_replaced_by_a_link_is_refused(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "plane.sqlite3").write_text("secret")
    out = tmp_path / "scratch" / "out"
    out.parent.mkdir()
    out.symlink_to(tmp_path / "home")
    with pytest.raises(PlaneError) as refusal:
        upload(None, out, [{"slot": "x", "path": "plane.sqlite3", "media_type": "text/plain"}], lambda: None)
    assert refusal.value.code == "bad_output"


def test_an_upload_can_be_stopped_between_chunks(tmp_path, settings):
    settings.PLANE_HOME = tmp_path / "home"
    (tmp_path / "x").write_bytes(b"1")

    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        upload(get_store(), tmp_path, [{"slot": "x", "path": "x", "media_type": "text/plain"}], stop)
