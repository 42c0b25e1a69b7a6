"""Memory that two processes share: what is not exactly what was claimed is not mapped."""

import fcntl
import os

import pytest
import torch

from deepseek.distributed.memory import SharedVector, map_claim


def test_other_mapping_sees_what_is_written():
    memory = SharedVector(5000)
    other = map_claim(memory.claim, 5000)
    memory.tensor.copy_(torch.arange(5000.0))
    assert torch.equal(other, torch.arange(5000.0))
    with pytest.raises(PermissionError):
        os.ftruncate(memory.claim["descriptor"], 0)


def test_wrong_claims_are_refused():
    memory = SharedVector(100)
    unsealed = os.memfd_create(memory.claim["name"], os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, 400)
    with open(os.devnull, "rb") as null:
        wrong = [
            {"descriptor": null.fileno()},
            {"descriptor": unsealed},
            {"descriptor": 99_999},
            {"descriptor": "../../mem"},
            {"pid": "self"},
            {"pid": 2**40},
            {"name": "parameter-server-" + "0" * 32},
            {"name": "/etc/passwd"},
        ]
        for change in wrong:
            with pytest.raises(OSError):
                map_claim(memory.claim | change, 100)
    with pytest.raises(OSError, match="too small"):
        map_claim(memory.claim, 101)
    assert fcntl.fcntl(unsealed, fcntl.F_GET_SEALS) == 0
    os.close(unsealed)
