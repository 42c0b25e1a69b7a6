"""A node is checked before it takes part in an attempt over several."""

from __future__ import annotations

import errno

import pytest

from workers.gangs import node_check


@pytest.fixture(autouse=True)
def roomy(monkeypatch):
    monkeypatch.setattr(node_check, "find_short_disks", lambda disks: [])
    monkeypatch.setattr(node_check, "get_store_folder", lambda: None)


def test_finds_nothing_wrong_with_this_node(tmp_path):
    assert node_check.find_fault(tmp_path, [], 1) is None
    assert list(tmp_path.iterdir()) == []


def test_names_a_disk_that_takes_no_bytes(tmp_path, monkeypatch):
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(node_check.os, "fsync", refuse)
    assert node_check.find_fault(tmp_path, [], 1) == f"Input/output error: {tmp_path}"


def test_names_a_gpu_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(node_check, "GPUS", "print(0)")
    assert node_check.find_fault(tmp_path, [0], 1) == "torch does not find its 1 GPU(s)"


def test_tells_why_the_interpreter_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setattr(node_check, "INTERPRETER", "raise SystemExit('no entropy')")
    assert node_check.find_fault(tmp_path, [], 1) == "no entropy"


def test_names_the_memory_that_is_short(tmp_path):
    fault = node_check.find_fault(tmp_path, [], 2**60)
    assert fault.msgid == "{free:.1f} GB of memory are free, and the job takes {needed:.1f} GB"
    assert fault.params["needed"] == 2**60 / 1e9
