"""The tab of lineage: what is drawn, as one, put away and thick; the same as a list; and what it asks the database."""

from __future__ import annotations

import html
import re

import pytest

from apps.gateways.openlineage.models import ForeignEnd
from apps.platform.jobs.models import Job
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def job(project) -> Job:
    facts = {"kind": "noop", "spec": "{}", "spec_digest": "5" * 64, "queue": "cpu", "time_limit_seconds": 60}
    return Job.objects.create(project=project, state="succeeded", grant={}, requester="engineer", **facts)


@pytest.fixture
def fed(worker_actor, project):
    """fed(("job:1", "job:2"), ...) records these edges; a label is the end itself."""

    def end(text) -> End:
        type, id = text.split(":")
        return End(type, id, label=text)

    def record(*pairs) -> None:
        edges = [EdgeSpec.between(end(source), end(target), "table") for source, target in pairs]
        record_edges(actor=worker_actor, project=project, edges=edges)

    return record


@pytest.fixture
def read(web, engineer, project, job):
    """read(query, status=200) -> the text of the job's tab of lineage."""
    client = web(engineer)

    def ask(query="", status=200) -> str:
        answer = client.get(f"/p/{project.slug}/jobs/{job.pk}/lineage{query}")
        assert answer.status_code == status
        return answer.content.decode()

    return ask


def test_on_a_phone_the_list_has_the_form(read, fed, job):
    fed((f"job:{job.pk}", "artifact:a"))
    drawing, _, listed = read("?find=a&depth=2").partition('aria-labelledby="all"')
    assert "phone" not in drawing.partition('id="graph"')[2]
    form = re.search(r'<form class="bar phone".*?</form>', listed, re.DOTALL)[0]
    assert 'action="#all"' in form
    assert '<input type="hidden" name="find" value="a">' in form
    assert '<option value="2" selected>' in form
    assert "2 objects" in listed
    assert "1 edge, from" in listed


def test_nothing_recorded_is_said(read):
    assert "No edge yet" in read()


def test_siblings_are_one_box_that_opens(read, fed, job):
    fed(*((f"job:{job.pk}", f"artifact:a{n}") for n in range(14)))
    text = read()
    assert "14 × Artifact" in text
    opened = re.search(r'href="(\?expand=[^"#]+)', text)[1]
    assert "14 × Artifact" not in read(opened)
    assert read(opened).count('<g class="node') == 15


def test_what_lies_beyond_is_put_away_by_the_address(read, fed, job):
    fed((f"job:{job.pk}", "artifact:a"), ("artifact:a", "job:99991"), ("job:99991", "artifact:b"))
    assert read().count('<g class="node') == 4
    text = read("?collapse=artifact:a")
    assert text.count('<g class="node') == 2
    assert "Expand what lies beyond artifact:a" in text


def test_depth_direction_and_focus_are_in_the_address(read, fed, job):
    fed(("artifact:a", f"job:{job.pk}"), (f"job:{job.pk}", "artifact:b"), ("artifact:b", "job:99991"))
    assert read("?depth=1&direction=down").count('<g class="node') == 2
    assert read("?focus=job:99991&direction=up").count('<g class="node') == 4
    assert "Back to this object" in read("?focus=job:99991")


def test_wrong_parameters_are_reported_beside_the_graph(read, fed, job):
    fed((f"job:{job.pk}", "artifact:b"))
    for query, field in (
        ("?depth=99", "depth"),
        ("?direction=sideways", "direction"),
        ("?focus=tree:1", "focus"),
        ("?expand=job", "expand"),
    ):
        text = read(query)
        assert f"<b>{field}</b>" in text
        assert text.count('<g class="node') == 2, query


def test_the_list_says_state_source_and_slot(read, fed, job):
    fed(("artifact:a", f"job:{job.pk}"), (f"job:{job.pk}", "artifact:c"))
    rows = read().partition("As a list")[2]
    assert "Succeeded" in rows
    assert re.search(r"artifact:a</a> <span class=\"quiet\">table", rows)


def test_a_long_list_is_read_page_by_page(read, fed, job):
    fed(*((f"job:{job.pk}", f"artifact:a{n}") for n in range(120)))
    seen, query = [], ""
    while query is not None:
        text = read(query)
        listed = text.partition("As a list")[2]
        seen += re.findall(r'<th scope="row"><a href="[^"]*" title="([^"]+)"', listed)
        assert re.search(r">\d+ of 121<", listed)
        onward = re.search(r'rel="next" href="([^"#]+)#all"', listed)
        query = onward and html.unescape(onward[1])
    assert len(seen) == len(set(seen)) == 120
    back = re.search(r'rel="prev" href="([^"#]+)#all"', listed)
    assert html.unescape(back[1]) != "?"


def test_the_graph_is_a_file_too(read, fed, job, web, engineer):
    fed((f"job:{job.pk}", "artifact:b"), ("artifact:b", "artifact:c"))
    link = re.search(r'href="([^"]*lineage\.csv[^"]*)"', read("?depth=1&direction=down"))
    file = read_of(web, engineer, html.unescape(link[1]))
    assert [line.split(",")[1] for line in file.splitlines()[1:]] == [str(job.pk)]


def test_a_page_of_the_list_that_nobody_gave_out_is_said(read, fed, job):
    fed(*((f"job:{job.pk}", f"artifact:a{n}") for n in range(60)))
    text = read("?list=all")
    assert "is not one that this list gave out" in text
    assert "<b>list</b>" in text
    assert ">50 of 61<" in text


@pytest.mark.parametrize("length", [2, 40])
def test_no_depth_costs_more_queries(read, fed, job, length, django_assert_max_num_queries):
    fed((f"job:{job.pk}", "job:990000"), *((f"job:{990000 + n}", f"job:{990001 + n}") for n in range(length)))
    read("?depth=50")
    with django_assert_max_num_queries(19):
        assert read("?depth=50").count('<g class="node') == length + 2


def test_names_are_escaped(read, worker_actor, project, job):
    ends = End("job", str(job.pk), label="<script>1"), End("artifact", "a", label='"><img>')
    record_edges(actor=worker_actor, project=project, edges=[EdgeSpec.between(*ends, "<i>")])
    text = read()
    assert not any(bad in text for bad in ("<script>1", "<img>", "<i>"))


def test_what_is_looked_for_stands_for_itself_and_is_shown(read, fed, job):
    fed(*((f"job:{job.pk}", f"artifact:a{n}") for n in range(30)))
    text = read("?find=A17")
    assert "1 found" in text
    assert re.search(r'<g id="found" class="node [^"]*here', text)
    assert "29 × Artifact" in text
    assert "focus=artifact%3Aa17" in text
    assert "No object in this graph has this name." in read("?find=zebra")


def test_anything_has_a_page_of_its_graph(web, engineer, stranger, project, fed, job):
    fed((f"job:{job.pk}", f"artifact:{'a' * 64}"))
    where = f"/p/{project.slug}/lineage/artifact/{'a' * 64}"
    text = web(engineer).get(where).content.decode()
    assert text.count('<g class="node') == 2
    assert "/lineage/artifact/" in read_of(web, engineer, f"/p/{project.slug}/jobs/{job.pk}/lineage")
    assert web(stranger).get(where).status_code == 404
    assert web(engineer).get(f"/p/{project.slug}/lineage/tree/1").status_code == 404


def read_of(web, who, where) -> str:
    return web(who).get(where).content.decode()


def test_a_thousand_nodes_are_drawn_readably_and_listed(read, fed, job, django_assert_max_num_queries):
    fed(*((f"job:{job.pk}", f"artifact:a{n}") for n in range(300)))
    fed(*((f"artifact:a{n}", f"job:{990000 + n // (1 + n % 3)}") for n in range(300)))
    fed(*((f"job:{990000 + n}", f"dataset_version:{n}") for n in range(390)))
    read()
    with django_assert_max_num_queries(19):
        text = read("?depth=12")
    assert text.count('<g class="node') <= 130
    assert re.search(r">50 of [\d,]+<", text)


def test_a_foreign_job_has_a_page(web, engineer, api, project):
    facet = {"_producer": "x:y", "_schemaURL": "x:z", "language": "SQL"}
    event = {
        "eventTime": "2026-11-25T10:00:00Z",
        "producer": "x:y",
        "schemaURL": "x:z",
        "eventType": "COMPLETE",
        "run": {"runId": "0198f3c2-7a51-7cc0-8b54-3f6c1f2d9a11"},
        "job": {"namespace": "airflow", "name": "nightly", "facets": {"sourceCode": facet}},
        "outputs": [{"namespace": "file", "name": "/lake/x"}],
    }
    assert api(engineer).post("/api/v1/lineage", event, format="json").status_code == 201
    key = ForeignEnd.objects.get(type="foreign_job").key
    text = read_of(web, engineer, f"/p/{project.slug}/lineage/foreign_job/{key}")
    assert all(word in text for word in ("airflow", "nightly", "SQL", "COMPLETE", "/lake/x", "External job"))


def test_artifacts_of_a_large_graph_are_folded_into_edges(read, fed, job):
    fed((f"job:{job.pk}", "artifact:near"), ("artifact:near", "job:990000"))
    fed(*((f"job:{990000 + n}", f"artifact:far{n}") for n in range(15)))
    fed(*((f"artifact:far{n}", f"job:{990001 + n}") for n in range(15)))

    def read_drawing(query="?depth=50") -> tuple[str, int, int]:
        drawing = read(query).partition('aria-labelledby="all"')[0]
        return drawing, drawing.count("artifact/near"), drawing.count("artifact/far")

    drawing, near, far = read_drawing()
    assert ("Show 15 artifacts" in drawing, near, far) == (True, 1, 0)
    assert drawing.count('<path class="edge') == 17
    drawing, _, far = read_drawing("?depth=50&artifacts=1")
    assert ("Fold artifacts" in drawing, far) == (True, 15)
    assert read_drawing("?depth=50&find=far7")[2] == 1
