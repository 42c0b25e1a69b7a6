"""What the pages of a version and of its dataset show of quality: relations, drift, expectations, and their forms."""

import json

import pyarrow as pa
import pytest

from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.quality.required_expectations import set_expectations
from apps.data.datasets.services import set_quality
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from deepseek.quality.expectations import check_expectations, parse_expectations
from deepseek.quality.report import build_quality_report

pytestmark = pytest.mark.django_db
PAGE = "/p/demo/data/wti-daily"
RANGE = {"kind": "range", "column": "a", "maximum": 2}


def text_of(answer) -> str:
    return answer.content.decode()


@pytest.fixture
def measured(added, held, worker_actor):
    """measured(table, expectations) -> a version with the report that the engine makes of the table."""

    def make(table, *expectations):
        report = build_quality_report(table) | {
            "expectations": check_expectations(table, parse_expectations(json.dumps(expectations)))
        }
        data = json.dumps(report).encode()
        columns = [{"name": field.name, "dtype": str(field.type)} for field in table.schema]
        version, _ = added({"t.parquet": held(data[::-1])}, columns=columns)
        told = held(data, media_type="application/json")
        return set_quality(actor=worker_actor, version=version, artifact=told)

    return make


@pytest.fixture
def versions(measured):
    rows = list(range(200))
    first = pa.table({"a": [n % 10 for n in rows], "b": rows, "t": ["x", "y"] * 100, "u": ["p", "q"] * 100})
    later = pa.table({"a": [n % 10 + 8 for n in rows], "b": rows, "t": ["x", "z"] * 100, "u": ["p", "q"] * 100})
    return [measured(first, RANGE), measured(later)]


def test_relations_are_drawn_with_their_numbers(web, viewer, versions):
    page = text_of(web(viewer).get(f"{PAGE}/1/quality"))
    assert "Rank correlation" in page
    assert "Cramér" in page
    assert "a, b: 0.05</title>" in page
    assert '<details id="pearson-table">' in page


def test_drift_from_the_version_before(web, viewer, versions):
    page = text_of(web(viewer).get(f"{PAGE}/2/quality"))
    assert "Drift from wti-daily v1" in page
    assert "new: z" in page
    assert "lost: y" in page
    assert ">changed<" in page
    same = text_of(web(viewer).get(f"{PAGE}/2/quality?against=2"))
    assert ">stable<" in same
    assert ">changed<" not in same


def test_the_change_of_what_is_missing(web, viewer, measured):
    measured(pa.table({"a": [1, 2, 3, None]}))
    measured(pa.table({"a": [1, 2, None, None]}))
    measured(pa.table({"a": [1, 2, 3, 4]}))
    assert 'in points">+25</td>' in text_of(web(viewer).get(f"{PAGE}/2/quality"))
    assert 'in points">−25</td>' in text_of(web(viewer).get(f"{PAGE}/3/quality?against=1"))


def test_a_column_that_is_new_is_no_drift_of_values(web, viewer, measured):
    rows = list(range(200))
    measured(pa.table({"a": rows}))
    measured(pa.table({"a": rows, "b": rows}))
    page = text_of(web(viewer).get(f"{PAGE}/2/quality"))
    assert ">other columns<" in page
    assert ">moved<" not in page
    assert "b is new." in page


def test_both_lie_over_each_other_with_their_verdict(web, viewer, versions):
    page = text_of(web(viewer).get(f"{PAGE}/2/distributions?against=1"))
    assert "wti-daily v1 as an outline" in page
    assert 'class="ghost"' in page
    assert "PSI " in page
    assert ">changed<" in page
    assert 'class="ghost"' not in text_of(web(viewer).get(f"{PAGE}/2/distributions?against=9"))


def test_a_baseline_that_is_not_there_is_said(web, viewer, versions):
    page = text_of(web(viewer).get(f"{PAGE}/2/quality?against=9"))
    assert "no version 9" in page
    assert "Drift from wti-daily v1" in page


def test_what_became_of_each_expectation(web, viewer, versions):
    page = text_of(web(viewer).get(f"{PAGE}/1/quality"))
    assert "range a: &lt;= 2" in page
    assert "row 4: 3" in page
    assert "140" in page


def test_a_version_is_measured_by_one_button(web, engineer, viewer, added, held):
    added({"t.csv": held()}, media_type="text/csv")
    client = web(engineer)
    assert "Profile it" in text_of(client.get(f"{PAGE}/1/quality"))
    answer = client.post(f"{PAGE}/1/measure")
    job = Job.objects.get()
    assert answer.headers["Location"] == f"/p/demo/jobs/{job.pk}"
    assert web(viewer).post(f"{PAGE}/1/measure").status_code == 403


def test_an_expectation_is_added_and_removed(web, engineer, dataset):
    client, url = web(engineer), f"{PAGE}/expectations"
    assert "No expectations yet" in text_of(client.get(url))
    wrong = client.post(f"{url}?kind=range", {"/column": "close", "op": "submit"})
    assert (wrong.status_code, "at least one of the two limits" in text_of(wrong)) == (422, True)
    fields = {"/column": "close", "/minimum": "0", "/severity": "error", "/max_share": "0", "/note": "no debt"}
    assert client.post(f"{url}?kind=range", {**fields, "op": "submit"}).status_code == 302
    page = text_of(client.get(url))
    assert "range close: &gt;= 0" in page
    button = page.partition('name="remove" value="')[2].partition('"')[0]
    assert client.post(url, {"remove": button}).status_code == 302
    assert client.post(url, {"remove": button}).status_code == 422
    dataset.refresh_from_db()
    assert dataset.expectations == []
    assert AuditRecord.objects.filter(action="dataset.set_expectations").count() == 2


def test_every_kind_has_a_form(web, engineer, dataset):
    client = web(engineer)
    kinds = ["column", "unique", "one_of", "compare", "date_range", "row_count", "nonsense"]
    pages = {kind: text_of(client.get(f"{PAGE}/expectations?kind={kind}")) for kind in kinds}
    assert [kind for kind, text in pages.items() if 'name="/severity"' not in text] == []


def test_a_viewer_reads_and_changes_nothing(web, viewer, stranger, dataset):
    url = f"{PAGE}/expectations"
    assert "Add one" not in text_of(web(viewer).get(url))
    assert web(viewer).post(f"{url}?kind=not_null", {"/column": "a", "op": "submit"}).status_code == 403
    assert web(stranger).get(url).status_code == 404


def test_an_upload_is_measured_or_checked(web, engineer, actor_for, dataset, tmp_path):
    client, fields = web(engineer), {"dataset": "wti-daily", "delimiter": ",", "encoding": "utf-8"}
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,2\n")
    with (tmp_path / "t.csv").open("rb") as file:
        assert client.post("/p/demo/upload", {**fields, "file": file, "measure": "true"}).status_code == 302
    assert Job.objects.get().register == {}
    set_expectations(actor=actor_for(engineer), dataset=dataset, expectations=[RANGE])
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,3\n")
    with (tmp_path / "t.csv").open("rb") as file:
        answer = client.post("/p/demo/upload", {**fields, "file": file})
    assert answer.headers["Location"] == f"/p/demo/jobs/{Job.objects.latest('pk').pk}"
    assert DatasetVersion.objects.count() == 1
