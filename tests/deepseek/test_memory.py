"""What a run may take: what its job asked for, else what the machine has."""

from __future__ import annotations

import threading

import psutil

from deepseek import memory
from deepseek.memory import get_allowed_bytes, get_machine_bytes, limit_memory


def test_limit_holds_within_its_block_and_thread():
    seen = []
    with limit_memory(2**20):
        thread = threading.Thread(target=lambda: seen.append(get_allowed_bytes()))
        thread.start()
        thread.join()
        assert get_allowed_bytes() == 2**20
    assert seen == [get_allowed_bytes()] == [get_machine_bytes()]


def test_no_limit_is_the_machine():
    with limit_memory(0):
        assert 0 < get_allowed_bytes() <= psutil.virtual_memory().total


def test_container_and_addresses_bound_the_machine(tmp_path, monkeypatch):
    path = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CGROUP_LIMITS", (tmp_path / "none", path))
    wrong = {}
    for text, addresses, expected in [("max\n", -1, None), (f"{2**28}\n", -1, 2**28), (f"{2**28}\n", 2**27, 2**27)]:
        path.write_text(text)
        monkeypatch.setattr(memory.resource, "getrlimit", lambda kind, bound=addresses: (bound, bound))
        if get_machine_bytes() != (expected or get_machine_bytes()) or (
            expected is None and get_machine_bytes() < 2**28
        ):
            wrong[text, addresses] = get_machine_bytes()
    assert wrong == {}
