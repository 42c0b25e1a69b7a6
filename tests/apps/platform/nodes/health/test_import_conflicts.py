"""The site's own conflict rules: imported signed, told to doctors, shown where a log matches."""

import json

import pytest
from django.core.management import call_command

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes.health.conflicts import find_conflicts_in_log, import_conflict_rules
from apps.platform.nodes.models import ConflictRules
from deepseek.doctor.conflict_rules import PAYLOAD_TYPE
from deepseek.signing.documents import encode_canonical
from deepseek.signing.dsse import sign
from deepseek.signing.keys import encode_public_key, generate_key

pytestmark = pytest.mark.django_db
RULE = {"id": "site-fan", "severity": "fail", "cause": "The fan of slot 3 stops.", "remedy": "Replace it."}
RULE |= {"source": "ticket 4711", "log": ["fan of slot * has stopped"]}
DOCUMENT = {"format": "deepseek-conflicts/1", "version": "7", "rules": [RULE]}


@pytest.fixture
def key():
    return generate_key()


def take(actor, key, document=DOCUMENT, trusted=None):
    content = sign(PAYLOAD_TYPE, encode_canonical(document), [key]).to_json().encode()
    keys = encode_public_key((trusted or key).public_key)
    return import_conflict_rules(actor=actor, content=content, keys=keys, name="site.json")


def test_signed_rules_are_imported_recorded_and_told_to_doctors(operator, key, api, node_secret):
    assert take(operator, key).version == "7"
    assert '"version":"7"' in AuditRecord.objects.get(action="node.import_conflicts").body
    told = api(node_secret).get("/api/v1/doctor/nodes/gpu-01/registration").json()
    assert told["conflicts"] == [RULE]


def test_a_log_is_compared_with_them_and_with_ours(operator, key):
    take(operator, key)
    lines = ["epoch 1", "fan of slot 3 has stopped", "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus."]
    assert [(row.id, row.line) for row in find_conflicts_in_log(lines)] == [
        ("site-fan", lines[1]),
        ("gpu-off-the-bus", lines[2]),
    ]
    assert find_conflicts_in_log(["epoch 1"]) == []


def test_another_signature_rules_at_fault_and_the_same_again_are_refused(operator, key):
    for document, trusted in ((DOCUMENT, generate_key()), ({**DOCUMENT, "rules": [{"id": "x"}]}, None)):
        with pytest.raises(Invalid) as refusal:
            take(operator, key, document, trusted)
        assert refusal.value.code == "bad_conflicts"
    take(operator, key)
    with pytest.raises(Conflict):
        take(operator, key)
    assert ConflictRules.objects.count() == 1


@pytest.mark.parametrize("who", ["engineer", "sysadmin", "secadmin", "auditor"])
def test_only_the_operator_imports(request, actor_for, key, who):
    with pytest.raises(Refused):
        take(actor_for(request.getfixturevalue(who)), key)


def test_the_command_ends_with_2_where_a_file_is_at_fault(tmp_path, key, capsys):
    rules, keys = tmp_path / "site.json", tmp_path / "keys.txt"
    rules.write_text(sign(PAYLOAD_TYPE, encode_canonical(DOCUMENT), [key]).to_json())
    keys.write_text(encode_public_key(key.public_key))
    call_command("import_conflicts", str(rules), keys=keys)
    assert "Imported 1 rules, version 7" in capsys.readouterr().out
    rules.write_text(json.dumps({}))
    for path in (rules, tmp_path / "none"):
        with pytest.raises(SystemExit) as left:
            call_command("import_conflicts", str(path), keys=keys)
        assert left.value.code == 2
    assert "bad_conflicts" in capsys.readouterr().err
