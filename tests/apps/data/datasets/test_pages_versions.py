"""The tabs of one dataset version: distributions, checks, more rows, and another version beside it."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.data.datasets.services import set_quality, upload_csv
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.stores import get_store

pytestmark = pytest.mark.django_db
V = "/p/demo/data/wti-daily/1"


def text_of(answer) -> str:
    return answer.content.decode()


def queries_of(client, url) -> int:
    client.get(url)  # the first visit renews the session and fills the cache
    with CaptureQueriesContext(connection) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


def column(name="close", **more):
    numeric = {"min": 1, "max": 9, "quantiles": {"0.5": 4.5}, "histogram": {"edges": [1, 5, 9], "counts": [2, 1]}}
    return {"name": name, "dtype": "double", "missing": 0, "distinct": 3, "numeric": numeric} | more


@pytest.fixture
def measured(added, held, report, worker_actor):
    """measured(column, ...) -> a version whose report tells these columns."""

    def make(*columns, data=b"1", **more):
        known = [{"name": one["name"], "dtype": one["dtype"]} for one in columns]
        version, _ = added({"t.parquet": held(data)}, columns=known)
        told = held(report(columns=list(columns), **more), media_type="application/json")
        return set_quality(actor=worker_actor, version=version, artifact=told)

    return make


def test_query_counts_do_not_grow_with_columns(engineer, web, measured):
    client = web(engineer)
    tabs = ["", "/preview", "/distributions", "/quality", "/compare", "/files", "/audit"]
    measured(*(column(f"c{n}") for n in range(3)))
    few = {tab: queries_of(client, f"{V}{tab}") for tab in tabs}
    measured(*(column(f"c{n}") for n in range(60)), data=b"2")
    many = {tab: queries_of(client, f"/p/demo/data/wti-daily/2{tab}") for tab in tabs}
    few["/compare"] += 4  # the second version has one beside it, whose rows may have been compared
    few["/quality"] += 1  # and both reports are read
    assert many == few
    assert max(many.values()) < 20


def test_a_wide_table_is_paged_and_searched(engineer, web, measured):
    measured(*(column(f"c{n:03}") for n in range(300)))
    client = web(engineer)
    first, second = text_of(client.get(V)), text_of(client.get(f"{V}?columns=2"))
    assert "page 1 of 6, 300 columns" in first
    assert ("c049<" in first, "c050<" in first, "c050<" in second) == (True, False, True)
    found = text_of(client.get(f"{V}?column=C29"))
    assert ("c290<" in found, "c000<" in found) == (True, False)
    assert "No column name contains this." in text_of(client.get(f"{V}?column=zebra"))


def test_unknown_pages_of_columns(engineer, web, measured):
    measured(column())
    client = web(engineer)
    for page in ("0", "99", "x", "-1", "9" * 30):
        assert client.get(f"{V}?columns={page}").status_code == 200, page
        assert client.get(f"{V}/distributions?page={page}").status_code == 200, page


def test_distributions_of_numbers_dates_and_values(engineer, web, measured):
    told = {"histogram": {"edges": ["2026-01-01", "2026-02-01", "2026-03-01"], "counts": [2, 1]}}
    day = column("day", dtype="date32[day]", numeric=None, dates={"first": "a", "last": "b"} | told)
    desk = column("desk", dtype="string", numeric=None, top=[["<b>x</b>", 2], ["", 1]], distinct=9)
    measured(column(top=None), day, desk)
    text = text_of(web(engineer).get(f"{V}/distributions"))
    assert "2026-01-01 to 2026-02-01" in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert "<b>x</b>" not in text
    assert "empty text" in text
    assert "The 2 most frequent of 9." in text
    assert "log scale" in text_of(web(engineer).get(f"{V}/distributions?scale=log"))


def test_a_report_of_an_older_form_is_shown_and_said_to_be_one(engineer, web, measured):
    measured(column())
    assert "older form" in text_of(web(engineer).get(f"{V}/distributions"))
    assert web(engineer).get(f"{V}/quality").status_code == 200


def test_a_failing_check_stands_in_the_head_of_every_tab(engineer, web, measured):
    measured(column(missing=1), column("b"), duplicate_rows=0)
    for tab in ("", "/files", "/quality"):
        text = text_of(web(engineer).get(f"{V}{tab}"))
        assert "1 check fails" in text
        assert "<b>1 value missing</b>" in text
    assert "Missing values" in text


def test_a_version_that_nobody_measured_says_what_to_do(engineer, web, added, held):
    added({"t.csv": held()}, media_type="text/csv")
    for tab in ("/distributions", "/quality"):
        assert "jobs/new/clean?version=" in text_of(web(engineer).get(f"{V}{tab}"))
    assert "Not profiled" in text_of(web(engineer).get(V))


def test_two_versions_side_by_side(engineer, web, measured):
    measured(column(), column("gone"))
    measured(column(numeric=column()["numeric"] | {"quantiles": {"0.5": 7.25}}), column("new"), data=b"2")
    text = text_of(web(engineer).get("/p/demo/data/wti-daily/2/compare?with=1"))
    assert "wti-daily v2 beside wti-daily v1" in text
    assert "2 columns differ" in text
    assert all(one in text for one in ("4.5", "7.25", ">gone<", ">new<", '<option value="1" selected>'))


def categories(**counts):
    top = [[name, count] for name, count in sorted(counts.items(), key=lambda item: -item[1])]
    return {"name": "site", "dtype": "string", "missing": 0, "distinct": len(top), "top": top, "values": top}


def test_a_category_that_vanished_is_listed_and_its_column_changed(engineer, web, measured):
    measured(categories(north=300, harbour=288), rows=588)
    measured(categories(north=319, port=269), rows=588, data=b"2")
    context = web(engineer).get("/p/demo/data/wti-daily/2/compare?with=1").context
    (drawn,), (pair,) = context["drawn"], context["pairs"].items
    assert drawn.top == [("north", 319, 300), ("port", 269, 0), ("harbour", 0, 288)]
    assert (pair.change, context["changed"], context["drift"].state) == ("changed", 1, "fail")


def test_a_version_without_a_parent_has_values_not_after(engineer, web, measured):
    measured(column(missing=3))
    text = text_of(web(engineer).get(f"{V}/quality"))
    assert ('data-l="Value"' in text, 'data-l="After"' in text) == (True, False)


def test_comparison_with_an_unknown_version(engineer, web, measured):
    measured(column())
    client = web(engineer)
    for which in ("9", "nonsense", "f" * 64, "0"):
        assert "Choose an existing version." in text_of(client.get(f"{V}/compare?with={which}")), which


def test_one_version_alone_has_nothing_beside_it(engineer, web, measured):
    measured(column())
    assert "no other version" in text_of(web(engineer).get(f"{V}/compare"))
    assert f"{V}/compare" not in text_of(web(engineer).get(V))


def test_the_next_rows_are_a_link_away(engineer, web, worker_actor, project, held):
    artifact = held(b"a\n" + b"".join(b"%d\n" % n for n in range(80)))
    upload_csv(actor=worker_actor, project=project, dataset_name="raw", artifact=artifact)
    client, where = web(engineer), "/p/demo/data/raw/1/preview"
    text = text_of(client.get(where))
    assert "rows 1 to 50 of 80" in text
    following = re.search(r'href="(\?at=142\.[0-9a-f]{32}&amp;row=51)"', text)
    assert "rows 51 to 80 of 80" in text_of(client.get(where + following[1].replace("&amp;", "&")))
    for place in ("999999", "143", "143" + following[1][7:40]):  # whose cells may stand under other columns
        assert "is no place in the table" in text_of(client.get(f"{where}?at={place}"))


def test_who_uses_it(engineer, web, added, held, job):
    artifact = held()
    added({"t.csv": artifact}, media_type="text/csv")
    job(table=artifact)
    text = text_of(web(engineer).get(V))
    assert "Used by <b>1 job</b>." in text
    assert "job, as table" in text


def test_damaged_bytes_are_said_and_no_tab_breaks(engineer, web, added, held):
    artifact = held(b"only,here\n1,2\n")  # the store is of all tests that run meanwhile
    added({"t.csv": artifact}, media_type="text/csv")
    get_store().path_of(artifact.digest).unlink()
    Artifact.objects.filter(pk=artifact.pk).update(damaged_at=timezone.now())
    client = web(engineer)
    for tab in ("", "/preview", "/files", "/quality", "/distributions"):
        text = text_of(client.get(f"{V}{tab}"))
        assert "<b>1 of its files is damaged</b>" in text
        assert "?version=" not in text.partition('id="main"')[2].partition('class="tabs"')[0]
    assert "are damaged or gone" in text_of(client.get(f"{V}/preview"))
