import pytest

from apps.errors import PlaneError
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
