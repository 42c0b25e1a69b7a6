"""The file of a checkpoint: replaced whole, or not at all."""

import os

import pytest
import torch

from deepseek.train import checkpoint
from deepseek.train.checkpoint import Checkpoint, Unusable, compute_identity, read_checkpoint, write_checkpoint
from deepseek.train.spec import TrainSpec

OLD = Checkpoint({"step": 1}, {"a/b": torch.arange(3), "random/cpu": torch.get_rng_state(), "step": torch.tensor(2.5)})


def test_it_comes_back_as_it_was(tmp_path):
    path = tmp_path / "c"
    write_checkpoint(path, "mine", OLD)
    found = read_checkpoint(path, "mine")
    assert found.state == OLD.state
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in OLD.tensors.items())
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.parametrize("part", ["fsync", "rename"])
def test_a_failure_leaves_the_old_one(tmp_path, monkeypatch, part):
    path = tmp_path / "c"
    write_checkpoint(path, "mine", OLD)
    before = path.read_bytes()

    def full(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "rename": (checkpoint.Path, "rename")}[part], full)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(path, "mine", Checkpoint({"step": 2}, OLD.tensors))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["c"]


def test_what_a_killed_writer_left_does_not_matter(tmp_path):
    (tmp_path / "c.new").write_bytes(b"half")
    write_checkpoint(tmp_path / "c", "mine", OLD)
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "no checkpoint"), (b"hello\n" * 99, "no checkpoint"), (b"plane/checkpoint/v1 mine\n{}", "no checkpoint")],
)
def test_another_file(tmp_path, content, reason):
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(Unusable, match=reason):
        read_checkpoint(tmp_path / "c", "mine")


def test_another_run(tmp_path):
    write_checkpoint(tmp_path / "c", "yours", OLD)
    with pytest.raises(Unusable, match="of another spec"):
        read_checkpoint(tmp_path / "c", "mine")


def test_every_cut_is_noticed(tmp_path):
    path = tmp_path / "c"
    write_checkpoint(path, "mine", OLD)
    data = path.read_bytes()
    for end in range(0, len(data), 97):
        path.write_bytes(data[:end])
        with pytest.raises(Unusable):
            read_checkpoint(path, "mine")


def test_spec_table_and_code_make_the_identity(monkeypatch):
    spec = TrainSpec(task="forecast", target="y")
    one = compute_identity(spec, {"table": "a"})
    assert one == compute_identity(spec.model_copy(), {"table": "a"})
    others = {
        compute_identity(spec, {"table": "b"}),
        compute_identity(spec.model_copy(update={"seed": 1}), {"table": "a"}),
    }
    monkeypatch.setattr(checkpoint, "compute_code_digest", lambda: "other")
    assert len({one, compute_identity(spec, {"table": "a"}), *others}) == 4


def test_the_identity_is_the_same_in_any_order_of_inputs():
    spec, inputs = TrainSpec(task="regression", target="y"), {"table": "a" * 64, "base": "b" * 64}
    assert compute_identity(spec, inputs) == compute_identity(spec, dict(reversed(inputs.items())))
