import hashlib

import pytest

from apps.core.errors import PlaneError
from apps.platform.artifacts.stores import get_store
from workers.endpoints.staging import VersionFiles, remove_unused, stage_version


@pytest.fixture
def stored():
    """stored(bytes) -> the digest under which the store keeps them."""

    def put(data):
        with get_store().open_staging() as staging:
            staging.write(data)
            return staging.publish()[0]

    return put


def test_files_are_copied_once_and_removed_when_nobody_uses_them(stored, tmp_path):
    version = VersionFiles(1, 3, (("model.json", stored(b"{}")), ("model.bin", stored(b"bytes"))))
    folder = stage_version(version, tmp_path / "versions", lambda: None)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"model.json": b"{}", "model.bin": b"bytes"}
    assert stage_version(version, tmp_path / "versions", lambda: None) == folder
    remove_unused(tmp_path / "versions", {version.folder_name})
    assert folder.is_dir()
    remove_unused(tmp_path / "versions", set())
    assert not folder.exists()


def test_other_bytes_and_odd_names_leave_nothing(stored, tmp_path):
    digest = stored(b"bytes")
    path = get_store().path_of(digest)
    path.chmod(0o600)
    path.write_bytes(b"other")
    wrong = [(("model.bin", digest),), (("model.bin", hashlib.sha256(b"gone").hexdigest()),), (("../x", digest),)]
    for files in wrong:
        with pytest.raises((PlaneError, OSError)):
            stage_version(VersionFiles(1, 1, files), tmp_path / "versions", lambda: None)
    assert list((tmp_path / "versions").iterdir()) == []
