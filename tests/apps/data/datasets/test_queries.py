import pytest

from apps.core.errors import Invalid, NotFound, Refused
from apps.data.datasets import queries
from apps.data.datasets.services import set_quality, upload_csv
from apps.data.datasets.versions.manifest import format_csv_type
from apps.platform.jobs.models import Job
from deepseek.tables.csv_dialect import CsvDialect

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewing(actor_for, viewer):
    return actor_for(viewer)


@pytest.fixture
def csv_version(worker_actor, project, held):
    """csv_version(bytes, ...) -> the version of an uploaded CSV file."""

    def upload(data, **more):
        return upload_csv(actor=worker_actor, project=project, dataset_name="raw", artifact=held(data), **more)[0]

    return upload


def test_preview_of_csv_from_its_first_bytes(viewing, csv_version):
    shown = queries.read_preview(viewing, csv_version('\ufeff名,b\n\n甲,\n"x\ny",2\n'.encode()))
    assert shown.columns == ["名", "b"]
    assert shown.rows == [["甲", None], ["x\ny", "2"]]


def test_preview_reads_as_the_upload_was_read(viewing, csv_version):
    version = csv_version("名;b\n甲;1\n".encode("gb18030"), delimiter=";", encoding="gb18030")
    assert queries.read_preview(viewing, version).rows == [["甲", "1"]]


def test_preview_omits_a_record_that_may_be_cut(viewing, csv_version, monkeypatch):
    version = csv_version('名,b\n甲,"1\n2"\n乙,2\n丙,3\n丁,4\n'.encode())
    wrong = {}
    for size in range(20, 34):
        monkeypatch.setattr(queries, "PREVIEW_BYTES", size)
        shown = queries.read_preview(viewing, version).rows
        if shown != [["甲", "1\n2"], ["乙", "2"], ["丙", "3"]][: len(shown)]:
            wrong[size] = shown
    assert wrong == {}


@pytest.mark.parametrize("limit", [1, 2, 50])
def test_preview_limit(viewing, csv_version, limit):
    version = csv_version(b"a\n" + b"1\n" * 100)
    assert len(queries.read_preview(viewing, version, limit=limit).rows) == limit


@pytest.mark.parametrize("limit", [0, 51])
def test_preview_refuses_a_limit(viewing, csv_version, limit):
    with pytest.raises(Invalid) as caught:
        queries.read_preview(viewing, csv_version(b"a\n1\n"), limit=limit)
    assert caught.value.field == "limit"


def test_preview_of_parquet_comes_from_the_report(viewing, worker_actor, added, held, report):
    version, _ = added({"table.parquet": held(b"PAR1")})
    assert queries.read_preview(viewing, version).rows == []
    assert "measured" in queries.read_preview(viewing, version).note
    set_quality(actor=worker_actor, version=version, artifact=held(report()))
    shown = queries.read_preview(viewing, version, limit=2)
    assert (shown.columns, shown.rows[1]) == (["day", "close"], ["2026-01-03", None])


def test_quality_is_none_until_measured(viewing, worker_actor, added, held, report):
    version, _ = added({"table.parquet": held(b"PAR1")})
    assert queries.read_quality_report(viewing, version) is None
    set_quality(actor=worker_actor, version=version, artifact=held(report()))
    assert queries.read_quality_report(viewing, version)["schema"] == "plane/quality-report/v1"


def test_a_report_too_large_is_named(viewing, worker_actor, added, held, report, monkeypatch):
    version, _ = added({"table.parquet": held(b"PAR1")})
    set_quality(actor=worker_actor, version=version, artifact=held(report()))
    monkeypatch.setattr(queries, "MAX_REPORT_BYTES", 10)
    with pytest.raises(Invalid, match="too large"):
        queries.read_quality_report(viewing, version)


def test_a_version_by_number_and_by_digest(viewing, project, added, held):
    version, _ = added({"a": held()})
    for which in ("1", version.digest):
        assert queries.get_version(viewing, project, "wti-daily", which) == version


@pytest.mark.parametrize(("which", "error"), [("2", NotFound), ("0" * 64, NotFound), ("v1", Invalid), ("0", Invalid)])
def test_no_such_version(viewing, project, added, held, which, error):
    added({"a": held()})
    with pytest.raises(error) as caught:
        queries.get_version(viewing, project, "wti-daily", which)
    assert caught.value.field == "version"


@pytest.mark.parametrize(("paths", "main"), [(["b.csv", "a.parquet"], "a.parquet"), (["x.bin"], "x.bin")])
def test_main_file(viewing, added, held, paths, main):
    kind = format_csv_type(CsvDialect()) if len(paths) > 1 else "application/octet-stream"
    version, _ = added({path: held() for path in paths}, media_type=kind)
    assert queries.get_main_file(viewing, version).path == main


def test_no_main_file_among_many(viewing, added, held):
    version, _ = added({"a": held(b"1"), "b": held(b"2")}, media_type="image/png")
    with pytest.raises(Invalid) as caught:
        queries.get_main_file(viewing, version)
    assert caught.value.code == "no_table"


def test_users_of_a_version(viewing, added, held, job):
    version, _ = added({"a": held()})
    taker = job(table=held())
    job(table=held(b"other"))
    assert [(found.pk, found.slot) for found in users(viewing, version)] == [(taker.pk, "table")]


def users(actor, version, most=queries.MAX_CONSUMERS):
    return queries.list_consumer_jobs(actor, version, list(version.files.all()), most)


@pytest.mark.parametrize("sought", [0, queries.MAX_FILES_SEARCHED])
def test_the_newest_users_and_one_more(viewing, added, held, job, monkeypatch, sought):
    monkeypatch.setattr(queries, "MAX_FILES_SEARCHED", sought)
    one, two, third = held(), held(b"other"), held(b"third")
    version, _ = added({"a": one, "b": two}, media_type="image/png")
    takers = [job(table=artifact) for artifact in (one, two, one, two, two)]
    job(table=third)
    assert [found.pk for found in users(viewing, version, most=3)] == [taker.pk for taker in takers[:0:-1]]


def test_users_in_other_projects_do_not_crowd_out(viewing, added, held, job, other_project):
    version, _ = added({"a": held()})
    taker = job(table=held())
    Job.objects.filter(pk__in=[job(table=held()).pk for _ in range(3)]).update(project=other_project)
    assert [found.pk for found in users(viewing, version, most=1)] == [taker.pk]


READS = [queries.list_files, queries.get_main_file, queries.read_preview, queries.read_quality_report, users]


def test_reads_require_a_member(actor_for, stranger, auditor, added, held):
    version, _ = added({"table.parquet": held()})
    for who, error in ((stranger, NotFound), (auditor, Refused)):
        actor = actor_for(who)
        for read in READS:
            with pytest.raises(error):
                read(actor, version)
