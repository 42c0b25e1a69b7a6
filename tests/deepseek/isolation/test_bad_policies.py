"""What is refused before anything is rendered or applied: each with exit code 2, the field at fault and no trace."""

from __future__ import annotations

import json

import pytest

from deepseek import cli
from deepseek.isolation import hosts
from deepseek.isolation.apply import check_lockout
from deepseek.isolation.hosts import PlaneAddress
from deepseek.isolation.rules import build_allowances
from deepseek.isolation.spec import Policy
from deepseek.job import EngineError

CASES = {
    "bad network": ({"networks": ["192.168.1.0/33"]}, "/networks/0", "is not a network"),
    "host bits": ({"networks": ["192.168.1.7/24"]}, "/networks/0", "write 192.168.1.0/24"),
    "everything": ({"networks": ["0.0.0.0/0"]}, "/networks/0", "too wide"),
    "metadata": ({"networks": ["169.254.0.0/16"]}, "/networks/0", "169.254.169.254"),
    "no text": ({"networks": [10]}, "/networks/0", "A network is a text"),
    "address as name": ({"names": ["10.0.0.1"]}, "/names/0", "is not a host name"),
    "name with a space": ({"names": ["plane internal"]}, "/names/0", "is not a host name"),
    "unknown name": ({"names": ["nobody.invalid"]}, "/names", "has no address on this machine"),
    "port 0": ({"ports": [{"to": "10.0.0.1", "ports": [0]}]}, "/ports/0/ports/0", "is not a port"),
    "port 65536": ({"ports": [{"to": "10.0.0.1", "ports": ["1-65536"]}]}, "/ports/0/ports/0", "is not a port"),
    "port true": ({"ports": [{"to": "10.0.0.1", "ports": [True]}]}, "/ports/0/ports/0", "is not a port"),
    "protocol": ({"ports": [{"to": "10.0.0.1", "protocol": "icmp", "ports": [1]}]}, "/ports/0/protocol", "tcp"),
    "wrong type": ({"networks": "10.0.0.0/8"}, "/networks", "list"),
    "unknown field": ({"network": ["10.0.0.0/8"]}, "/network", "Remove it"),
    "a list": ([1], "/", "dictionary"),
    "too many": ({"networks": [f"10.1.{number}.0/24" for number in range(257)]}, "/networks", "at most 256"),
    "huge": ({"names": ["a" * 60 + f".b{number}" for number in range(2000)]}, "POLICY", "65536 bytes"),
    "not JSON": ("{", "POLICY", "Cannot read the policy"),
}


def test_bad_policies_name_field_and_limit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hosts, "look_up", lambda name: [])
    path, wrong = tmp_path / "policy.json", []
    for name, (document, field, words) in CASES.items():
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        code = cli.main(["isolate", "render", str(path)])
        text = capsys.readouterr().err
        if code != 2 or f"field: {field}\n" not in text or words not in text or "Traceback" in text:
            wrong.append((name, code, text))
    assert wrong == []


def test_a_policy_without_the_plane_is_refused():
    allowances = build_allowances(Policy(networks=["10.1.0.0/24"], ports=[{"to": "10.2.0.1", "ports": [80]}]), {})
    for address, port in ("10.3.0.1", 443), ("10.2.0.1", 443), ("fd00::1", 443):
        with pytest.raises(EngineError) as caught:
            check_lockout(allowances, PlaneAddress("https://plane", "plane", port, (address,)))
        error = caught.value
        assert (error.code, error.field, error.limit) == ("lockout", "/networks", f"{address} port {port}")


def test_no_policy_and_a_bad_plane_are_refused(capsys):
    assert cli.main(["isolate", "render"]) == 2
    assert "deepseek isolate render --network" in capsys.readouterr().err
    assert cli.main(["isolate", "apply", "--network", "10.0.0.0/24", "--plane", "plane.internal"]) == 2
    assert "https://plane.internal" in capsys.readouterr().err
