"""What a dataset expects, checked while somebody waits: what holds becomes a version, what does not is named."""

import os
import threading

import pytest

from apps.core.canonical import compute_digest
from apps.core.errors import Conflict, Invalid, Unavailable
from apps.data.datasets import bounded_process
from apps.data.datasets.quality import expectation_gate
from apps.data.datasets.quality.expectation_gate import check_expectations
from apps.data.datasets.quality.required_expectations import set_expectations
from apps.data.datasets.services import add_files
from apps.data.datasets.versions.registration import add_version
from apps.platform.audit.models import AuditRecord

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_engine")]
TABLE = b"day,close\n2026-01-02,57.3\n2026-01-03,\n2026-01-04,-58.1\n"
LOW = {"kind": "range", "column": "close", "minimum": -100}
HIGH = {"kind": "range", "column": "close", "minimum": 0}
GAPS = {"kind": "not_null", "column": "close"}


@pytest.fixture
def actor(actor_for, engineer):
    return actor_for(engineer)


@pytest.fixture
def expects(actor, dataset):
    """expects(...) -> the dataset expects these."""
    return lambda *given: set_expectations(actor=actor, dataset=dataset, expectations=list(given))


@pytest.fixture
def check(actor, project, dataset, held):
    """check(bytes, media type, path) -> what is found of a version of this file alone."""

    def of(data=TABLE, kind="text/csv", path="t.csv"):
        return check_expectations(actor, project, dataset.name, [(path, held(data), kind)])

    return of


def test_met_expectations_pass_with_warnings(engine_child, expects, check, settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    expects(LOW, {**GAPS, "severity": "warning"})
    found = check()
    assert found.unmet == 1
    assert found.warnings == ["The expectation 2 (not_null close) does not hold: 1 of 3 rows break it."]
    assert os.listdir(tmp_path) == []


def test_unmet_expectations_are_reported_with_rows(expects, check):
    expects(HIGH, LOW, GAPS)
    with pytest.raises(Invalid) as refused:
        check()
    first, second = refused.value.errors
    assert (first["code"], first["field"], first["limit"]) == (
        "expectation_failed",
        "/expectations/0",
        "range close: >= 0",
    )
    assert "(range close: >= 0) does not hold: 1 of 2 rows break it. The first: row 3: -58.1." in first["message"]
    assert "(not_null close) does not hold: 1 of 3 rows break it. The first: row 2: missing." in second["message"]
    assert refused.value.message == "t.csv is not what wti-daily expects: range close: >= 0; not_null close."


def test_reported_errors_are_limited(expects, check, monkeypatch):
    monkeypatch.setattr(expectation_gate, "MAX_ERRORS_NAMED", 1)
    expects(HIGH, GAPS)
    with pytest.raises(Invalid) as refused:
        check()
    assert len(refused.value.errors) == 1
    assert refused.value.errors[0]["message"].endswith(" 1 more fail.")


def test_media_type_selects_encoding_and_delimiter(expects, check):
    expects({"kind": "range", "column": "收盘", "minimum": 0})
    data = "日期;收盘\n2026-01-02;-57\n".encode("gb18030")
    with pytest.raises(Invalid, match="range 收盘"):
        check(data, "text/csv; charset=gb18030; delimiter=%3B")


def test_unreadable_table_is_rejected(expects, check):
    expects(LOW)
    with pytest.raises(Invalid, match=r"cannot be read") as refused:
        check(b"a,b\n1\n")
    assert refused.value.code == "csv_broken_row"


def test_engine_is_not_asked_without_error_expectations(expects, check, monkeypatch):
    monkeypatch.setattr(bounded_process, "run_engine", None)
    assert check() is None
    expects({**HIGH, "severity": "warning"})
    assert check() is None


def test_existing_version_is_not_checked_again(expects, check, added, held):
    added({"t.csv": held(TABLE)}, media_type="text/csv")
    expects(HIGH)
    assert check() is None
    with pytest.raises(Invalid):
        check(path="other.csv")


def test_large_files_and_other_types_need_a_job(expects, check, settings):
    expects(LOW)
    with pytest.raises(Conflict, match="none of these files is a table"):
        check(b"words", "text/plain", "notes.txt")
    settings.ENV = settings.ENV.model_copy(update={"check_limit_bytes": len(TABLE) - 1})
    with pytest.raises(Conflict, match=f"has {len(TABLE)} bytes, and only up to {len(TABLE) - 1}") as refused:
        check()
    assert refused.value.code == "expectations_unchecked"
    assert "kind profile" in refused.value.hint


def test_slow_check_is_stopped(engine_child, expects, check, monkeypatch, tmp_path):
    slow = tmp_path / "slow.py"
    slow.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(bounded_process, "CHILD", slow)
    monkeypatch.setattr(expectation_gate, "SECONDS", 1)
    monkeypatch.setattr(expectation_gate, "MIN_SECONDS", 0)
    expects(LOW)
    with pytest.raises(Conflict, match="took longer than 1 s") as refused:
        check()
    assert refused.value.code == "expectations_unchecked"


def test_slow_copy_starts_no_child(expects, check, monkeypatch):
    monkeypatch.setattr(bounded_process, "run_engine", None)
    monkeypatch.setattr(expectation_gate, "SECONDS", 0)
    expects(LOW)
    with pytest.raises(Conflict, match="took longer"):
        check()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (bounded_process.ProcessFault.MEMORY, "2048 MiB of memory"),
        (bounded_process.ProcessFault.FAILED, "on this host"),
    ],
)
def test_failed_check_is_a_conflict(expects, check, monkeypatch, fault, words):
    monkeypatch.setattr(bounded_process, "run_engine", lambda *_, **__: bounded_process.ProcessAnswer(fault=fault))
    expects(LOW)
    with pytest.raises(Conflict, match=words):
        check()


def test_concurrent_checks_are_limited(expects, check, monkeypatch):
    monkeypatch.setattr(expectation_gate, "slots", threading.BoundedSemaphore(1))
    monkeypatch.setattr(expectation_gate, "SLOT_WAIT_SECONDS", 0.01)
    expects(LOW)
    with expectation_gate.slots, pytest.raises(Unavailable) as refused:
        check()
    assert refused.value.code == "checks_busy"
    assert check()


def test_add_files_checks_and_records_expectations(actor, project, dataset, expects, held):
    expects(LOW)
    files = [("t.csv", held(TABLE).pk, "text/csv")]
    version, is_new = add_files(actor=actor, project=project, dataset_name=dataset.name, files=files)
    assert is_new
    record = AuditRecord.objects.get(action="dataset.add_version", object_id=str(version.pk))
    dataset.refresh_from_db()
    assert compute_digest(dataset.expectations) in record.body


def test_check_applies_to_its_table_and_current_expectations(actor, dataset, expects, check, held):
    expects(LOW)
    found = check()
    add = {"actor": actor, "dataset": dataset, "media_type": "text/csv", "rows": None, "columns": [], "script": "x"}
    with pytest.raises(Conflict) as refused:
        add_version(files=[("t.csv", held(b"a\n1\n"), "text/csv")], params={}, checked=found, **add)
    assert refused.value.code == "expectations_unchecked"
    expects(LOW, GAPS)
    files = [("t.csv", held(TABLE), "text/csv")]
    with pytest.raises(Conflict) as refused:
        add_version(files=files, params={}, checked=found, **add)
    assert refused.value.code == "expectations_changed"
    expects(LOW)
    assert add_version(files=files, params={}, checked=found, **add)[1]


def test_rest_reports_every_error(api, engineer, dataset, expects, held):
    expects(HIGH, GAPS)
    body = {"files": [{"path": "t.csv", "digest": held(TABLE).pk}]}
    answer = api(engineer).post(f"/api/v1/projects/demo/datasets/{dataset.name}/versions", body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "expectation_failed")
    assert [one["field"] for one in error["errors"]] == ["/expectations/0", "/expectations/1"]
    assert "row 3: -58.1" in error["message"]
