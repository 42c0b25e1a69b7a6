"""What people say on a run's page, what a client told of it, and tables among its artifacts."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import LoggedModel, Run
from apps.ml.experiments.services.annotations import compute_note_revision
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db


# -- what people say of a run ---------------------------------------------------------------------------------------
@pytest.fixture
def send(web, engineer, page):
    """send(tail, **form) -> the answer."""
    client = web(engineer)
    return lambda tail, **form: client.post(page(tail), form)


def test_a_note_is_written_and_shown(read, send, start):
    run = start(name="one")
    assert send(f"/{run.pk}/note", text="A **wide** <b>net</b>").status_code == 302
    text = read(f"/{run.pk}")
    assert "<strong>wide</strong> &lt;b&gt;net&lt;/b&gt;" in text
    assert "Edit the note" in text


def test_a_note_of_an_older_revision_is_refused_beside_the_latest(read, send, start):
    run = start(name="one")
    empty = compute_note_revision("")
    assert send(f"/{run.pk}/note", text="of the other", revision=empty).status_code == 302
    answer = send(f"/{run.pk}/note", text="of my own", revision=empty)
    text = answer.content.decode()
    assert (answer.status_code, "<p>of the other</p>" in text, "of my own</textarea>" in text) == (409, True, True)
    too_long = send(f"/{run.pk}/note", text="x" * 8001, revision=empty).content.decode()
    assert f'name="revision" value="{empty}"' in too_long
    assert send(f"/{run.pk}/note", text="of both", revision=compute_note_revision("of the other")).status_code == 302
    assert "of both" in read(f"/{run.pk}")


def test_a_note_that_is_refused_stays_typed(send, start):
    answer = send(f"/{start(name='one').pk}/note", text="kept " + "x" * 8001)
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "kept xxx" in text
    assert 'role="alert"' in text


def test_tags_are_added_and_removed(read, send, start):
    run = start(name="one")
    assert send(f"/{run.pk}/tags", key="team", value="vision").status_code == 302
    assert "Remove the tag team" in read(f"/{run.pk}")
    assert send(f"/{run.pk}/tags", key="mlflow.runName", value="x").status_code == 422
    assert send(f"/{run.pk}/tags/remove", key="team").status_code == 302
    assert "Remove the tag team" not in read(f"/{run.pk}")


def test_a_deleted_run_says_so_and_comes_back(read, send, start, finish):
    run = start(name="one")
    finish(run)
    Job.objects.filter(pk=run.job_id).update(state="succeeded")
    assert "Delete this run?" in read(f"/{run.pk}")
    assert send(f"/{run.pk}/delete", reason="a typo").status_code == 302
    for tail in ("", "/metrics", "/audit"):
        assert "This run is deleted." in read(f"/{run.pk}{tail}")
    assert "Write a note" not in read(f"/{run.pk}")
    assert send(f"/{run.pk}/restore").status_code == 302
    assert "This run is deleted." not in read(f"/{run.pk}")


def test_a_viewer_has_no_forms(web, viewer, page, start):
    client, run = web(viewer), start(name="one")
    assert "Write a note" not in client.get(page(f"/{run.pk}")).content.decode()
    assert client.post(page(f"/{run.pk}/note"), {"text": "x"}).status_code == 403


def test_what_a_client_told_of_data_and_models(read, start):
    run = start(name="one")
    run.datasets.create(name="wdbc", digest="abcd1234", context="training", source_type="http")
    model = LoggedModel.objects.create(project=run.project, experiment=run.experiment, name="net")
    run.models.create(model=model, direction="output", step=3)
    text = read(f"/{run.pk}")
    assert "abcd1234" in text
    assert f'href="/p/{run.project.slug}/logged-models/{model.pk}">net</a>' in text


def test_a_run_from_outside_is_live_while_it_runs(read, start, log, project):
    with_job = start(name="one")
    outside = Run.objects.create(project=project, experiment=with_job.experiment, name="outside", created_by="x")
    log(outside, loss=[3, 2, 1])
    text = read(f"/{outside.pk}")
    assert 'data-every="3"' in text
    assert "data-live" not in text
    Run.objects.filter(pk=outside.pk).update(state="finished")
    assert "data-every" not in read(f"/{outside.pk}")


# -- a look into tables ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "data", "cells"),
    [
        ("rows.csv", b"a,b\n1,<b>x</b>\n", ["<td>1</td>", "&lt;b&gt;x&lt;/b&gt;"]),
        ("rows.tsv", b"a\tb\n1\t2\n", ["<td>1</td>", "<td>2</td>"]),
        ("table.json", b'{"columns": ["a", "b"], "data": [[1, null], ["x", 2.5]]}', ["<td>null</td>", "<td>2.5</td>"]),
    ],
)
def test_a_table_is_shown_as_one(read, start, keep, path, data, cells):
    run = start(name="one")
    keep(run, path, data)
    text = read(f"/{run.pk}/artifacts?preview={path}")
    assert all(cell in text for cell in cells)


def test_a_long_table_says_that_there_is_more(read, start, keep):
    run = start(name="one")
    keep(run, "rows.csv", b"a,b\n" + b"1,2\n" * 500)
    assert "The first 100 rows; the file has more." in read(f"/{run.pk}/artifacts?preview=rows.csv")


@pytest.mark.parametrize("data", [b'{"columns": 3, "data": []}', b'{"columns": ["a"], "data": [1]}'])
def test_json_that_only_looks_like_a_table_is_text(read, start, keep, data):
    run = start(name="one")
    keep(run, "t.json", data)
    assert "&quot;columns&quot;" in read(f"/{run.pk}/artifacts?preview=t.json")
