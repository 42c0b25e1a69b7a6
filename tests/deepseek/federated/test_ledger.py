"""What the egress ledger records, refuses, and notices."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from deepseek.cli import main
from deepseek.federated import ledger as ledgers
from deepseek.federated import ledger_verifier
from deepseek.federated.errors import FederationError
from deepseek.federated.ledger import EgressLedger, read_ledger
from deepseek.federated.spec import EgressRule
from deepseek.signing.keys import encode_public_key, generate_key

RULE = EgressRule(max_bytes_per_update=100, max_norm=10, max_updates=2)
STUDY = "a" * 64


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def open_ledger(path, signer):
    """open_ledger(**changes) -> the ledger at `path`, to be closed."""
    return lambda **changes: EgressLedger.open(path, **({"study": STUDY, "site": "north", "signer": signer} | changes))


def record(ledger, payload=b"weights", round=1, norm=1.0, max_abs=0.5, **changes):
    return ledger.record(
        payload, **{"kind": "update", "round": round, "rule": RULE, "norm": norm, "max_abs": max_abs} | changes
    )


def test_an_update_is_on_the_disk_when_it_may_leave(open_ledger, path, signer):
    with open_ledger() as ledger:
        entry = record(ledger, epsilon=0.7)
        assert read_ledger(path.read_bytes(), public_key=encode_public_key(signer.public_key)) == [entry]
        assert record(ledger) == entry  # the same bytes again: sent again, not recorded again
        with pytest.raises(FederationError, match="Another process"):
            open_ledger()
    with open_ledger() as ledger:
        assert record(ledger, b"more", 2).previous != "0" * 64
    assert (entry.bytes, entry.norm, entry.epsilon, path.stat().st_mode & 0o777) == (7, 1.0, 0.7, 0o600)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"payload": b"x" * 101}, "egress_bytes"),
        ({"norm": 10.5}, "egress_norm"),
        ({"norm": math.nan}, "egress_not_finite"),
        ({"max_abs": math.inf}, "egress_not_finite"),
        ({"norm": None}, "egress_not_finite"),
        ({"payload": b"another", "round": 1}, "egress_repeated"),
        ({"kind": "evaluation", "rule": EgressRule(metrics=False)}, "egress_metrics"),
        ({"kind": "join", "payload": b"x" * 70_000}, "egress_bytes"),
    ],
)
def test_what_is_over_the_rule_is_refused_and_recorded(open_ledger, changes, code):
    with open_ledger() as ledger:
        record(ledger)
        with pytest.raises(FederationError) as caught:
            record(ledger, **({"round": 2} | changes))
        assert caught.value.code == code
        assert [(entry.kind, entry.reason) for entry in ledger.entries] == [("update", ""), ("refused", code)]


def test_no_more_updates_leave_than_may(open_ledger):
    with open_ledger() as ledger:
        for round in (1, 2):
            record(ledger, b"w%d" % round, round)
        with pytest.raises(FederationError, match="As many updates"):
            record(ledger, b"w3", 3)


def test_figures_leave_once_in_a_study(open_ledger):
    with open_ledger() as ledger:
        first = record(ledger, b"figures", 2, kind="evaluation")
        assert record(ledger, b"figures", 2, kind="evaluation") == first  # the server was killed: sent again
        with pytest.raises(FederationError, match="have left already"):
            record(ledger, b"figures of other weights", 2, kind="evaluation")


def test_a_line_cut_short_by_a_kill_is_dropped(open_ledger, path):
    with open_ledger() as ledger:
        record(ledger)
    complete = path.read_bytes()
    path.write_bytes(complete + b'{"study":"aaa')
    with open_ledger() as ledger:
        assert len(ledger.entries) == 1
    assert path.read_bytes() == complete


def change(lines, number, **fields):
    entry = json.loads(lines[number]) | fields
    return [*lines[:number], json.dumps(entry).encode(), *lines[number + 1 :]]


@pytest.mark.parametrize(
    "forge",
    [
        lambda lines: lines[1:],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [lines[0], lines[2]],
        lambda lines: change(lines, 1, norm=0.1),
        lambda lines: change(lines, 0, site="south"),
        lambda lines: [*lines, b"null"],
        lambda lines: [*lines, b"[" * 5000],
        lambda lines: [*lines, b"\xff"],
        lambda lines: change(lines, 0, extra=1),
    ],
)
def test_a_ledger_that_was_changed_does_not_open(open_ledger, path, forge):
    with open_ledger() as ledger:
        for round in (1, 2):
            record(ledger, b"w%d" % round, round)
        ledger.record_refusal(b"w3", round=3, reason="privacy_budget_spent")
    path.write_bytes(b"\n".join(forge(path.read_bytes().splitlines())) + b"\n")
    with pytest.raises(FederationError) as caught:
        open_ledger()
    assert caught.value.code == "ledger_broken"


def test_a_ledger_of_another_key_or_study_does_not_open(open_ledger, path):
    with open_ledger() as ledger:
        record(ledger)
    for changes in ({"signer": generate_key()}, {"study": "b" * 64}, {"site": "south"}):
        with pytest.raises(FederationError, match="does not verify"):
            open_ledger(**changes)


def test_the_verifier_runs_alone(open_ledger, path, tmp_path, signer, capsys):
    with open_ledger() as ledger:
        record(ledger)
    copy = tmp_path / "verifier.py"
    copy.write_bytes(Path(ledger_verifier.__file__).read_bytes())
    key = encode_public_key(signer.public_key)
    alone = subprocess.run([sys.executable, "-I", copy, path, key], capture_output=True, text=True)
    assert (alone.returncode, alone.stdout) == (0, f"{path}: 1 entries verified\n")
    assert ledger_verifier.main([str(path), encode_public_key(generate_key().public_key)]) == 1
    assert ledger_verifier.main([str(tmp_path / "none")]) == 2
    assert "line 1" in capsys.readouterr().err


def test_a_ledger_that_is_full_lets_nothing_leave(open_ledger, path, monkeypatch):
    with open_ledger() as ledger:
        record(ledger)
        size = path.stat().st_size
        monkeypatch.setattr(ledgers, "MAX_LEDGER_BYTES", size + 10)
        with pytest.raises(FederationError) as caught:
            record(ledger, b"more", 2)
        assert (caught.value.code, path.stat().st_size, len(ledger.entries)) == ("ledger_full", size, 1)
    with open_ledger() as ledger:  # it can still be opened
        assert record(ledger).round == 1


def test_the_command_verifies_a_ledger(open_ledger, path, tmp_path, signer, capsys):
    with open_ledger() as ledger:
        record(ledger, epsilon=0.5)
        record(ledger, b"more", 2)
    key, other = (encode_public_key(each.public_key) for each in (signer, generate_key()))
    data = path.read_bytes()
    cases = {
        "as it is": (data, key, 0),
        "without a key": (data, None, 0),
        "another key": (data, other, 1),
        "no key": (data, "x", 1),
        "a changed byte": (data.replace(b'"bytes":7', b'"bytes":8'), key, 1),
        "cut in a line": (data[:-9], key, 1),
        "cut at its start": (data.splitlines(keepends=True)[1], key, 1),
        "empty": (b"", key, 0),
        "no text": (b"\xff\xfe", key, 1),
    }
    wrong = {}
    for name, (content, public_key, code) in cases.items():
        path.write_bytes(content)
        words = ["verify-ledger", str(path), *(["--public-key", public_key] if public_key else [])]
        if (got := main(words)) != code:
            wrong[name] = got
    assert wrong == {}
    shown = capsys.readouterr()
    assert "2 entries verified" in shown.out
    assert "line 1" in shown.err
    assert main(["verify-ledger", str(tmp_path / "none")]) == 2
    with pytest.raises(SystemExit) as caught:
        main(["verify-ledger"])
    assert caught.value.code == 2
