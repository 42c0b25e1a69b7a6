"""Measurements of this machine that take no time: what is true of any."""

import json
import os
import socket

import pytest

from deepseek.doctor.probes.__main__ import MODULES, get_probe
from deepseek.doctor.probes.network import attempt, fetch, measure_loopback
from deepseek.doctor.probes.software import compare_pins, find_vulnerabilities, list_open_secrets
from deepseek.doctor.probes.storage import describe_file_system, try_operations


def test_each_probe_has_one_name():
    names = [name for module in MODULES for name in module.PROBES]
    assert len(names) == len(set(names))
    with pytest.raises(SystemExit):
        get_probe("nothing")


def test_a_file_system_is_described_by_its_nearest_mount(tmp_path):
    disk = describe_file_system(str(tmp_path / "not" / "there"))
    assert disk["total_bytes"] >= disk["free_bytes"] > 0
    assert str(tmp_path).startswith(disk["mount"])


def test_operations_leave_nothing_behind(tmp_path):
    assert try_operations(str(tmp_path)) == {"link": True, "rename": True, "lock": True, "fsync": True}
    assert not list(tmp_path.iterdir())
    assert "unmeasured" in try_operations(str(tmp_path / "none"))


def test_attempts_tell_a_refusal_from_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert attempt("tcp", "127.0.0.1", port) == {"outcome": "connected"}
    assert attempt("tcp", "127.0.0.1", port) == {"outcome": "refused"}
    assert attempt("udp", "127.0.0.1", port) == {"outcome": "refused"}
    assert fetch(f"http://127.0.0.1:{port}/")["status"] == 0
    assert measure_loopback()["error"] == ""


def build_record(**affected):
    package = {"ecosystem": "PyPI", "name": "PyTest"}
    return {"id": "OSV-1", "modified": "2026-11-01T00:00:00Z", "affected": [{"package": package, **affected}]}


CELLS = [
    ({"versions": [pytest.__version__]}, True),
    ({"versions": ["0.0.1"]}, False),
    ({"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}, True),
    ({"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.0"}]}]}, False),
    ({"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"last_affected": "1.0"}]}]}, False),
    ({"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}, False),
]


def test_vulnerabilities_are_found_by_version_and_by_range(tmp_path):
    feed, wrong = tmp_path / "osv.jsonl", []
    for affected, is_expected in CELLS:
        feed.write_text(json.dumps(build_record(**affected)))
        if bool(find_vulnerabilities(str(feed))["vulnerable"]) is not is_expected:
            wrong.append(affected)
    assert not wrong
    feed.write_text("{broken")
    assert "unmeasured" in find_vulnerabilities(str(feed))


def test_pins_and_modes_are_compared(tmp_path):
    pins, key = tmp_path / "constraints.txt", tmp_path / "a.key"
    pins.write_text("pytest==0.1  # old\nno-such-package==1\n")
    assert compare_pins(str(pins))["wrong"] == [f"pytest {pytest.__version__} for 0.1"]
    key.write_text("secret")
    os.chmod(key, 0o644)
    assert list_open_secrets(str(tmp_path), "*.key") == {"count": 1, "open": [f"{key} (0644)"]}
    os.chmod(key, 0o600)
    assert list_open_secrets(str(tmp_path), "*.key")["open"] == []
