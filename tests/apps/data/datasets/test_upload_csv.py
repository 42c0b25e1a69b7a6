from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.core.errors import Invalid, NotFound, Refused
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.services import upload_csv
from apps.platform.audit.models import AuditRecord

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def uploaded(actor_for, engineer, project, held):
    def upload(data=None, name="wti-daily", actor=None, where=None, **more):
        artifact = held(where=where) if data is None else held(data, where)
        actor = actor or actor_for(engineer)
        return upload_csv(actor=actor, project=project, dataset_name=name, artifact=artifact, **more)

    return upload


def test_makes_the_dataset_and_a_version_that_knows_its_table(uploaded):
    version, created = uploaded(note="first")
    assert created
    assert (version.number, version.rows, version.script, version.note) == (1, 3, "upload", "first")
    assert version.columns == [{"name": "day", "dtype": "date32[day]"}, {"name": "close", "dtype": "double"}]
    assert version.files.get().path == "table.csv"
    assert version.params == {"delimiter": ",", "encoding": "utf-8"}
    actions = AuditRecord.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["dataset.create", "dataset.add_version"]


def test_the_same_again_is_found(uploaded):
    first, _ = uploaded()
    assert uploaded() == (first, False)
    assert AuditRecord.objects.count() == 2


def test_the_same_bytes_read_in_another_way_are_another_version(uploaded):
    data = "名;值\n甲;1\n".encode("gb18030")
    wrong, _ = uploaded(data, encoding="gb18030")
    right, created = uploaded(data, encoding="gb18030", delimiter=";")
    assert created
    assert [c["name"] for c in wrong.columns] == ["名;值"]
    assert [c["name"] for c in right.columns] == ["名", "值"]
    assert right.media_type == "text/csv; charset=gb18030; delimiter=%3B"


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "csv_empty"), (b"a\n", "csv_no_rows"), (b"a,b\n1\n", "csv_broken_row"), (b"a\n\xff\n", "csv_undecodable")],
)
def test_what_is_wrong_with_the_file_is_named_and_nothing_is_made(uploaded, data, code):
    with pytest.raises(Invalid) as caught:
        uploaded(data)
    assert caught.value.code == code
    assert not Dataset.objects.exists()
    assert not AuditRecord.objects.exists()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"name": "No"}, "name"),
        ({"delimiter": "ab"}, "delimiter"),
        ({"encoding": "x"}, "encoding"),
        ({"note": "x" * 501}, "note"),
    ],
)
def test_a_bad_value_is_named(uploaded, asked, field):
    with pytest.raises(Invalid) as caught:
        uploaded(**asked)
    assert caught.value.field == field


def test_bytes_of_another_project_do_not_exist(uploaded, other_project):
    with pytest.raises(Invalid) as caught:
        uploaded(where=other_project)
    assert caught.value.code == "artifact_unknown"


@pytest.mark.parametrize(("who", "error"), [("viewer", Refused), ("stranger", NotFound)])
def test_takes_an_engineer_of_the_project(request, actor_for, uploaded, who, error):
    with pytest.raises(error):
        uploaded(actor=actor_for(request.getfixturevalue(who)))
    assert not Dataset.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_first_uploads_at_once_make_one_dataset(uploaded, actor_for, engineer):
    actor = actor_for(engineer)

    def upload(number):
        try:
            uploaded(b"a\n%d\n" % number, actor=actor)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upload, range(4)))
    assert Dataset.objects.get().versions_count == 4
    assert sorted(DatasetVersion.objects.values_list("number", flat=True)) == [1, 2, 3, 4]
