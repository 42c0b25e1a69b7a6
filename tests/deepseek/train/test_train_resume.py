"""A training that is stopped anywhere and goes on from its checkpoint ends as one that never stopped, bit for bit."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.job import Silent, build_checkpoint_path
from deepseek.train.device import Place
from tests.deepseek.train.conftest import draw_flowers, train_to

SPEC = {
    "task": "classification",
    "target": "kind",
    "dropout": 0.4,
    "epochs": 6,
    "patience": 2,
    "checkpoint_every": 5,
    "schedule": {"first_batch": 8, "last_batch": 32, "warmup_steps": 20, "max_lr": 0.05},
}
FILES = ("model.safetensors", "model.json", "figures.json", "heldout.safetensors")


class Stopped(BaseException):
    """As a kill would, it comes between any two lines."""


class Stops(Silent):
    """A report during which the run is killed: once the checkpoint of step `at` is written, or `later` steps on."""

    def __init__(self, at=None, later=0):
        self.at, self.later, self.points, self.lines, self.steps = at, later, [], [], []

    def metric(self, name, value, step=0):
        if not name.startswith("system/"):  # tells of the machine
            self.points.append((name, step, value))
        if self.at and self.later and step >= self.at + self.later:
            self.stop()

    def log(self, text, *, level="info"):
        self.lines.append((level, text))

    def checkpoint(self, path, step):
        self.steps.append(step)
        if step == self.at and not self.later:
            self.stop()

    def stop(self):
        raise Stopped


class Uninterrupted:
    """The training of SPEC that nothing stops: its folder, its result and its report."""

    def __init__(self, folder):
        pq.write_table(pa.table(draw_flowers()), folder / "flowers")
        self.out, self.report = folder / "out", Stops()
        self.result = train_to(self.out, folder / "flowers", self.report, **SPEC)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return Uninterrupted(tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture
def same(tmp_path):
    """same(one, two): check that two folders, or folders of these names, hold equal files."""

    def check(one, two):
        for name in FILES:
            assert (tmp_path / one / name).read_bytes() == (tmp_path / two / name).read_bytes(), name

    return check


# 84 rows: 11 steps in each of two epochs, then 6 and 6, then 3 and 3. Step 5 is inside the first epoch, 10 its last but
# one, 15 and 20 inside the second with a checkpoint that holds best weights of the first; 25 is in the third.
@pytest.mark.parametrize(("at", "later"), [(5, 0), (5, 4), (10, 0), (10, 1), (15, 3), (20, 0), (25, 2)])
def test_going_on_is_bit_exact(train, flowers, tmp_path, uninterrupted, same, at, later):
    with pytest.raises(Stopped):
        train(flowers, "out", **SPEC, report=Stops(at, later))
    assert not (tmp_path / "out").exists()
    assert build_checkpoint_path(tmp_path / "out").exists()
    report = Stops()
    assert train(flowers, "out", **SPEC, report=report) == uninterrupted.result
    same(uninterrupted.out, "out")
    assert ("info", f"goes on from the checkpoint of step {at}") in report.lines
    assert report.points == [point for point in uninterrupted.report.points if point[1] > at]
    assert not build_checkpoint_path(tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_checkpoint_at_the_last_step_of_an_epoch(train, flowers, same):
    spec = SPEC | {"checkpoint_every": 11}
    train(flowers, "whole", **spec)
    with pytest.raises(Stopped):
        train(flowers, "out", **spec, report=Stops(11))
    train(flowers, "out", **spec)
    same("whole", "out")


@pytest.mark.parametrize("fields", [{"precision": "fp16"}, {"precision": "bf16", "activation": "gelu"}])
def test_mixed_precision_goes_on_bit_exact_too(train, flowers, same, fields):
    spec = SPEC | fields
    train(flowers, "whole", **spec)
    with pytest.raises(Stopped):
        train(flowers, "out", **spec, report=Stops(10, 2))
    train(flowers, "out", **spec)
    same("whole", "out")


def test_a_checkpoint_of_another_device_is_gone_on_from_with_a_warning(train, flowers, tmp_path, monkeypatch):
    with pytest.raises(Stopped):
        train(flowers, "out", **SPEC, report=Stops(10))
    monkeypatch.setattr(Place, "words", "cuda in fp16")
    report = Stops()
    train(flowers, "out", **SPEC, report=report)
    assert any("not bit for bit" in line for level, line in report.lines if level == "warning")


def test_every_checkpoint_in_a_row(train, flowers, uninterrupted, same):
    """Killed at each of its checkpoints, over and over."""
    for at in (5, 10, 15, 20, 25):
        with pytest.raises(Stopped):
            train(flowers, "out", **SPEC, report=Stops(at))
    train(flowers, "out", **SPEC)
    same(uninterrupted.out, "out")


def test_the_slot_is_gone_on_from_in_another_folder(train, flowers, tmp_path, uninterrupted, same):
    with pytest.raises(Stopped):
        train(flowers, "first", **SPEC, report=Stops(10))
    moved = build_checkpoint_path(tmp_path / "first").rename(tmp_path / "000")
    report = Stops()
    train(flowers, "second", **SPEC, report=report, inputs={"checkpoint": moved})
    same(uninterrupted.out, "second")
    assert report.steps[0] == 15
    assert moved.exists()  # an input is never touched


@pytest.mark.parametrize("as_input", [True, False])
@pytest.mark.parametrize("harm", ["spec", "table", "cut", "flipped", "empty", "pickle"])
def test_a_checkpoint_that_does_not_belong_is_left(
    train, flowers, waves, tmp_path, uninterrupted, same, as_input, harm
):
    other = {"spec": SPEC | {"seed": 1}, "table": SPEC | {"task": "forecast", "target": "height"}}.get(harm, SPEC)
    with pytest.raises(Stopped):
        train(waves if harm == "table" else flowers, "out", **other, report=Stops(10))
    path = build_checkpoint_path(tmp_path / "out")
    data = path.read_bytes()
    harmed = {"cut": data[:-1], "flipped": data[:-1] + bytes([data[-1] ^ 1]), "empty": b"", "pickle": b"\x80\x04N."}
    path.write_bytes(harmed.get(harm, data))
    inputs = {"checkpoint": path.rename(tmp_path / "000")} if as_input else {}
    report = Stops()
    train(flowers, "out", **SPEC, report=report, inputs=inputs)
    same(uninterrupted.out, "out")
    (told,) = [line for line in report.lines if "is not used" in line[1]]
    assert told[0] == "warning"


def test_an_absent_slot_file_is_no_matter(train, flowers, tmp_path):
    assert train(flowers, "out", **SPEC, inputs={"checkpoint": tmp_path / "absent"}).metrics
