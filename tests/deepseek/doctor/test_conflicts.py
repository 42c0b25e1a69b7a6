"""Known conflicts: rules, their conditions, patterns on logs, and the site's signed file."""

import json

import pytest

from deepseek.doctor.command import main
from deepseek.doctor.conflict_rules import (
    PAYLOAD_TYPE,
    find_conflicts,
    find_log_conflicts,
    load_builtin_rules,
    merge_rules,
    parse_document,
)
from deepseek.doctor.conflicts import load_site_rules, read_facts
from deepseek.doctor.sign_conflicts import main as sign_conflicts
from deepseek.job import EngineError
from deepseek.signing.documents import encode_canonical
from deepseek.signing.dsse import sign
from deepseek.signing.keys import encode_public_key, generate_key
from tests.deepseek.doctor.conftest import TREE, open_mutated
from tests.deepseek.doctor.mutations import Mutation

RULES = load_builtin_rules()["rules"]
HEALTHY = read_facts(open_mutated(Mutation()))
RULE = {
    "id": "x13-bios-21",
    "severity": "warn",
    "when": {"board": ["X13DEG"], "firmware": ["2.1"], "driver": ">=560"},
    "cause": "This BIOS gives the second GPU no address range.",
    "remedy": "Go back to BIOS 1.4.",
    "source": "site ticket 4711",
}


def build_document(*rules):
    return {"format": "deepseek-conflicts/1", "version": "1", "rules": list(rules)}


def test_the_facts_of_a_node_are_what_rules_ask_for():
    assert HEALTHY["driver"] == "560.35.05"
    assert HEALTHY["board"] == ["X13DEG-OA", "SYS-421GE-TNRT"]
    assert HEALTHY["firmware_date"] == "2023.12.14"
    assert HEALTHY["torch_cuda"] == "12.6"
    assert not find_conflicts(HEALTHY, RULES)


CELLS = [
    ({"driver": "525.85.12"}, "gsp-rpc-timeout-525"),
    ({"driver": "525.105.17"}, ""),
    ({"driver": "570.86.10"}, "accounting-null-pointer-570"),
    ({"driver": "570.133.20"}, ""),
    ({"driver": "535.104.05", "gpu": ["NVIDIA H100 80GB HBM3"]}, "h100-nvswitch-p2p-535"),
    ({"driver": "550.54.14", "kernel": "6.10.3"}, "kernel-6-10-driver-550"),
    ({"driver": "565.77", "kernel": "6.13.0-arch1"}, "kernel-6-13-driver-565"),
    ({"driver": "570.153.02", "kernel": "6.15.1"}, "kernel-6-15-driver-570"),
    ({"driver": "470.199.02", "kernel": "6.4.6-1"}, "kernel-6-4-driver-470"),
    ({"processor": ["AMD EPYC 7402P"], "gpu": ["NVIDIA GeForce RTX 4090"]}, "nccl-acs-amd"),
    ({"gpu": ["NVIDIA GeForce RTX 5090"], "torch_cuda": "12.6"}, "torch-without-blackwell"),
    ({"driver": "515.65.01", "torch_cuda": "12.4"}, "driver-older-than-cuda-12"),
    ({"driver": "570.133.20", "torch_cuda": "13.0"}, "driver-older-than-cuda-13"),
    ({"driver": "580.95.05", "torch_cuda": "13.0", "gpu": ["Tesla V100-SXM2-32GB"]}, "cuda-13-without-volta"),
    ({"driver": ""}, ""),
]


def test_each_rule_applies_where_all_of_its_conditions_do():
    wrong = {}
    for changes, expected in CELLS:
        ids = [rule["id"] for rule in find_conflicts({**HEALTHY, **changes}, RULES)]
        if (expected not in ids) if expected else ids:
            wrong[str(changes)] = ids
    assert not wrong


def test_every_rule_names_cause_remedy_and_source():
    assert len(RULES) >= 20
    assert all(rule["cause"] and rule["remedy"] and rule["source"] for rule in RULES)


LINES = [
    ("[1.0] NVRM: Xid (PCI:0000:3b:00): 119, pid=7, Timeout after 6s", "gsp-rpc-timeout-log"),
    ("[1.0] NVRM: GPU 0000:af:00.0: GPU has fallen off the bus.", "gpu-off-the-bus"),
    ("Failed to initialize NVML: Driver/library version mismatch", "driver-library-mismatch"),
    ("RuntimeError: ... Error 802: system not yet initialized", "fabric-manager-missing"),
    ("Error 803: system has unsupported display driver / cuda driver combination", "cuda-compat-older"),
    ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "torch-without-blackwell"),
    ("RuntimeError: DataLoader worker (pid 7) is killed by signal: Bus error.", "nccl-without-shm"),
    ("NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:", "bar-not-assigned"),
    ("epoch 3 loss 0.119, 79 rows", ""),
]


def test_lines_of_logs_are_matched_by_patterns():
    wrong = {}
    for line, expected in LINES:
        ids = [rule["id"] for rule, _ in find_log_conflicts([line], RULES)]
        if ids != ([expected] if expected else []):
            wrong[line] = ids
    assert not wrong


def test_a_rule_is_named_once_however_often_its_line_stands():
    matches = find_log_conflicts(["GPU has fallen off the bus"] * 3, RULES)
    assert [line for _, line in matches] == ["GPU has fallen off the bus"]


FAULTS = [
    (b"{", "/"),
    ({"format": "other"}, "/format"),
    ({**build_document(RULE), "version": ""}, "/version"),
    (build_document(), "/rules"),
    (build_document({**RULE, "id": "No Spaces"}), "/rules/0/id"),
    (build_document({**RULE, "severity": "bad"}), "/rules/0/severity"),
    (build_document({**RULE, "cause": ""}), "/rules/0/cause"),
    (build_document({**RULE, "when": {}}), "/rules/0/when"),
    (build_document({**RULE, "when": {"driver": "new"}}), "/rules/0/when/driver"),
    (build_document({**RULE, "when": {"colour": ["red"]}}), "/rules/0/when/colour"),
    (build_document({**RULE, "when": {"board": "X13"}}), "/rules/0/when/board"),
    (build_document({**RULE, "log": ["a*b"]}), "/rules/0/log"),
    (build_document({**RULE, "more": 1}), "/rules/0"),
    (build_document(RULE, RULE), "/rules"),
]


def test_a_document_at_fault_is_refused_and_the_field_named():
    wrong = {}
    for document, field in FAULTS:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        try:
            parse_document(content, "site")
            wrong[field] = "accepted"
        except EngineError as error:
            if error.field != field:
                wrong[field] = error.field
    assert not wrong


@pytest.fixture
def signed(tmp_path):
    """A signed file of one rule, and the file of the key that may sign."""
    key = generate_key()
    rules, keys = tmp_path / "conflicts.json", tmp_path / "keys.txt"
    rules.write_text(sign(PAYLOAD_TYPE, encode_canonical(build_document(RULE)), [key]).to_json())
    keys.write_text(f"{encode_public_key(key.public_key)} site\n")
    return rules, keys


def test_signed_rules_of_the_site_are_shown_by_the_doctor(signed, capsys):
    rules, keys = signed
    words = ["--replay", str(TREE), "--conflicts", str(rules), "--conflict-keys", str(keys), "os.conflicts"]
    assert main(words) == 1
    assert "Go back to BIOS 1.4." in capsys.readouterr().out


def test_rules_with_another_signature_or_without_a_key_are_refused(signed, capsys, tmp_path):
    rules, keys = signed
    other = tmp_path / "other.txt"
    other.write_text(encode_public_key(generate_key().public_key))
    for trusted in (other, None):
        with pytest.raises(EngineError) as refusal:
            load_site_rules(rules, trusted)
        assert refusal.value.code == "bad_conflicts"
    document = json.loads(rules.read_text())
    document["payload"] = document["payload"][:-8] + "AAAAAAA="
    rules.write_text(json.dumps(document))
    assert main(["--conflicts", str(rules), "--conflict-keys", str(keys), "os.conflicts"]) == 2
    assert "site" not in capsys.readouterr().out


def test_a_rule_of_the_site_replaces_ours_of_the_same_id():
    own = {**RULE, "id": "gpu-off-the-bus"}
    merged = merge_rules(RULES, [own])
    assert len(merged) == len(RULES)
    assert next(rule for rule in merged if rule["id"] == "gpu-off-the-bus")["cause"] == RULE["cause"]


def test_a_site_signs_its_rules_by_a_command(tmp_path, capsys):
    rules, out, key = tmp_path / "rules.json", tmp_path / "conflicts.json", tmp_path / "site.key"
    rules.write_text(json.dumps(build_document(RULE)))
    assert sign_conflicts([str(rules), "--key", str(key), "-o", str(out)]) == 0
    keys = tmp_path / "keys.txt"
    keys.write_text(capsys.readouterr().out)
    assert load_site_rules(out, keys) == [RULE]
    rules.write_text("[]")
    assert sign_conflicts([str(rules), "--key", str(key), "-o", str(out)]) == 2
