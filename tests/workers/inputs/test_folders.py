"""The files of a base model are laid out as the folder that it was."""

import pytest

from apps.core.errors import PlaneError
from workers.inputs.folders import arrange_folders


def stage(folder, *slots):
    staged = {}
    for number, slot in enumerate(slots):
        path = folder / f"{number:03d}"
        path.write_text(slot)
        staged[slot] = str(path)
    return staged


def test_each_file_lies_under_its_name(tmp_path):
    staged = stage(tmp_path, "texts", "base/config.json", "base/deep/model.safetensors")
    inputs = arrange_folders(tmp_path, staged)
    assert inputs == {"texts": staged["texts"], "base": str(tmp_path / "base")}
    assert (tmp_path / "base/deep/model.safetensors").read_text() == "base/deep/model.safetensors"


def test_a_base_that_is_one_file_stays(tmp_path):
    staged = stage(tmp_path, "texts", "base")
    assert arrange_folders(tmp_path, staged) == staged


@pytest.mark.parametrize("slots", [("base/../x",), ("base/a", "base/a/b")])
def test_a_slot_that_is_no_path_is_refused(tmp_path, slots):
    with pytest.raises(PlaneError) as failure:
        arrange_folders(tmp_path, stage(tmp_path, *slots))
    assert failure.value.code == "bad_input_path"
