"""The driver against a small Label Studio: import, copies of annotations, and what can go wrong on the way."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.ml.labelling import services
from apps.ml.labelling.models import Annotation, LabellingProject, LabelTask, RemoteTask
from apps.ml.labelling.services import importing
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes.samples import get_database_now
from tests.apps.ml.labelling.conftest import TEMPLATE, TEXTS, span

pytest.importorskip("label_studio_sdk")
from workers.labelling import importer

pytestmark = pytest.mark.django_db


def count_states(labelling):
    labelling.refresh_from_db()
    return labelling.progress["tasks"]


def test_one_project_for_each_group_and_every_task_once(labelling, studio, server):
    assert labelling.state == "labelling"
    assert labelling.failure == {}
    assert [row["label_config"] for row in studio.projects.values()] == [TEMPLATE] * 2
    texts = [task["data"]["text"] for task in studio.tasks.values()]
    assert sorted(texts) == sorted([*TEXTS, *TEXTS])
    server.refresh_from_db()
    assert (server.state, server.version) == ("healthy", "1.23.2")
    hook = studio.hooks[0]
    assert hook["send_payload"] is False
    assert hook["url"].endswith("/api/v1/labelling/hooks/" + labelling.groups.get(number=1).hook_key)


def test_without_overlap_each_task_goes_to_one_group(create, drive, studio):
    labelling = create(groups=["one", "two"])
    drive()
    assert [group.remote_tasks.count() for group in labelling.groups.order_by("number")] == [2, 2]
    assert len(studio.tasks) == 4


@pytest.mark.services
def test_equal_marks_agree_and_others_are_disputed(agreed):
    assert count_states(agreed) == {"agreed": 3, "disputed": 1}
    task = agreed.tasks.get(number=1)
    assert task.marks == {"spans": [{"start": 0, "end": 3, "label": "PERSON"}]}
    assert agreed.agreement["tasks"] == 4
    assert agreed.agreement_value == pytest.approx(agreed.agreement["value"])
    assert {row["annotator"] for row in agreed.progress["annotators"]} == {"A1", "A2"}


def test_a_task_that_one_group_has_not_marked_is_open(labelling, mark, drive):
    mark(labelling, 1, 0, [span(0, 3)])
    drive()
    assert count_states(labelling) == {"open": 4}


def test_a_skipped_task_is_no_result(labelling, mark, drive):
    for group in (1, 2):
        mark(labelling, group, 0, [], skipped=True)
    drive()
    assert count_states(labelling) == {"open": 3, "skipped": 1}


def test_a_reconciliation_reads_skipped_tasks_too(labelling, mark, drive, actor):
    for group in (1, 2):
        mark(labelling, group, 0, [], skipped=True)
    drive()
    services.synchronize_labelling(actor=actor, labelling=labelling)
    drive()
    assert count_states(labelling) == {"open": 3, "skipped": 1}


@pytest.mark.services
def test_a_reconciliation_finds_what_no_round_has_seen(labelling, mark, drive, studio, actor):
    pk = mark(labelling, 1, 0, [span(0, 3)])
    studio.tasks[studio.annotations[pk]["task"]]["updated_at"] = "2026-07-01T12:00:00Z"  # before the cursor
    drive()
    assert not Annotation.objects.exists()
    LabellingProject.objects.update(full_sync_at=get_database_now())
    drive()
    assert Annotation.objects.get().remote_id == pk
    labelling.refresh_from_db()
    assert labelling.full_sync_at > get_database_now()


def test_groups_of_a_long_name_have_projects_of_their_own(create, drive, studio):
    create(name="a-name-of-the-fifty-characters-that-a-slug-may-have"[:50], groups=["one", "two"], overlap=1.0)
    drive()
    titles = {row["title"] for row in studio.projects.values()}
    assert (len(titles), max(map(len, titles)) <= 50) == (2, True)


def test_an_import_that_ended_twice_is_mended(labelling, drive, studio, actor):
    row = RemoteTask.objects.get(group__number=1, task__number=0)
    meta = studio.tasks[row.remote_id]["meta"]
    twin = studio.import_task(row.group.remote_project, {"data": {"text": TEXTS[0]}, "meta": meta})
    added = studio.import_task(row.group.remote_project, {"data": {"text": "by a person"}, "meta": None})
    services.synchronize_labelling(actor=actor, labelling=labelling)
    drive()
    assert (twin in studio.tasks, added in studio.tasks) == (False, True)
    assert row.remote_id in studio.tasks


def test_a_server_that_gives_short_pages_costs_no_task(labelling, drive, studio, actor, monkeypatch):
    before, get_tasks = set(studio.tasks), studio.get_tasks
    short = {"page_size": "1"}
    monkeypatch.setattr(studio, "get_tasks", lambda words, query, body: get_tasks(words, {**query, **short}, body))
    services.synchronize_labelling(actor=actor, labelling=labelling)
    drive()
    assert set(studio.tasks) == before
    assert not RemoteTask.objects.filter(remote_id=None).exists()


@pytest.mark.services
def test_closing_ends_an_import_after_its_batch(create, drive, studio, actor, monkeypatch):
    monkeypatch.setattr(importer, "BATCH", 1)
    labelling = create()

    record = importing.record_imported

    def record_and_close(**facts):
        record(**facts)
        services.close_labelling(actor=actor, labelling=LabellingProject.objects.get(pk=labelling.pk))

    monkeypatch.setattr(importing, "record_imported", record_and_close)
    drive()
    labelling.refresh_from_db()
    assert (labelling.state, len(studio.tasks)) == ("closed", 1)


def test_an_answer_that_is_none_of_label_studio_is_named(create, drive, studio):
    labelling = create()
    studio.answer = lambda *_: (200, "<html>")
    drive()
    labelling.refresh_from_db()
    assert labelling.failure["message"].startswith("What answers at")


def test_an_id_that_the_server_gives_again_is_another_annotation(labelling, studio, mark, drive):
    pk = mark(labelling, 1, 0, [span(0, 3)])
    mark(labelling, 2, 0, [span(0, 3)])
    drive()
    studio.delete_annotation(pk)
    studio.next_id = pk - 1
    assert mark(labelling, 1, 1, [span(0, 2)]) == pk
    studio.next_id += 100
    drive()
    assert Annotation.objects.get(remote_id=pk, group__number=1).task.number == 1
    assert labelling.tasks.get(number=0).state == "open"


@pytest.mark.services
def test_the_same_again_changes_nothing(agreed, drive, actor):
    before = list(Annotation.objects.order_by("pk").values())
    drive()
    services.synchronize_labelling(actor=actor, labelling=agreed)
    drive()
    assert list(Annotation.objects.order_by("pk").values()) == before


def test_a_later_edit_wins_and_an_older_copy_does_not(agreed, studio, drive):
    annotation = Annotation.objects.get(group__number=2, task__number=3)
    studio.edit(annotation.remote_id, [])
    drive()
    assert count_states(agreed) == {"agreed": 4}
    Annotation.objects.filter(pk=annotation.pk).update(updated_at=studio.clock + timedelta(days=1), marks={"spans": []})
    studio.edit(annotation.remote_id, [span(0, 3)])
    drive()
    assert Annotation.objects.get(pk=annotation.pk).marks == {"spans": []}


def test_an_annotation_that_is_deleted_there_counts_no_more(agreed, studio, drive):
    annotation = Annotation.objects.get(group__number=1, task__number=0)
    studio.delete_annotation(annotation.remote_id)
    LabellingProject.objects.update(full_sync_at=get_database_now())
    drive()
    assert count_states(agreed) == {"agreed": 2, "disputed": 1, "open": 1}


@pytest.mark.services
def test_a_task_that_is_deleted_there_comes_back_with_its_marks(agreed, studio, drive):
    row = RemoteTask.objects.get(group__number=1, task__number=0)
    studio.delete_task(row.remote_id)
    drive()
    drive()
    row.refresh_from_db()
    assert row.remote_id in studio.tasks
    assert count_states(agreed) == {"agreed": 3, "disputed": 1}
    assert AuditRecord.objects.filter(action="labelling.restore_tasks").count() == 1


@pytest.mark.services
def test_a_label_that_is_renamed_there_is_named_and_nothing_is_guessed(labelling, studio, mark, drive):
    remote = labelling.groups.get(number=1).remote_project
    studio.projects[remote]["label_config"] = TEMPLATE.replace("PERSON", "HUMAN")
    pk = mark(labelling, 1, 0, [span(0, 3, "HUMAN")])
    mark(labelling, 2, 0, [span(0, 3)])
    drive()
    labelling.refresh_from_db()
    assert "HUMAN" in labelling.failure["message"]
    assert labelling.tasks.get(number=0).state == "open"
    studio.projects[remote]["label_config"] = TEMPLATE
    studio.edit(pk, [span(0, 3)])
    drive()
    labelling.refresh_from_db()
    assert (labelling.failure, labelling.tasks.get(number=0).state) == ({}, "agreed")


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_the_server_is_away_in_the_middle_of_the_import(create, drive, studio, monkeypatch, lost):
    monkeypatch.setattr(importer, "BATCH", 2)
    imports = []

    def is_second(method, path):
        if path.partition("?")[0].endswith("/import") and method == "POST":
            imports.append(path)
        return path.partition("?")[0].endswith("/import") and len(imports) == 2

    def fail(method, path):
        if is_second(method, path):
            raise ConnectionError

    if lost == "request":
        studio.before = fail
    else:
        studio.drop_answer = is_second
    labelling = create()
    drive()
    labelling.refresh_from_db()
    assert (labelling.state, bool(labelling.failure)) == ("importing", True)
    studio.before, studio.drop_answer = (lambda *_: None), (lambda *_: False)
    drive()
    labelling.refresh_from_db()
    assert (labelling.state, labelling.failure) == ("labelling", {})
    assert sorted(task["data"]["text"] for task in studio.tasks.values()) == sorted(TEXTS)
    assert not RemoteTask.objects.filter(remote_id=None).exists()


def test_a_token_that_is_revoked_is_named_and_a_new_one_goes_on(agreed, studio, server, drive, actor):
    studio.token = "f" * 40
    drive()
    agreed.refresh_from_db()
    server.refresh_from_db()
    assert (server.state, "refuses the token" in agreed.failure["message"]) == ("refused", True)
    services.update_server(actor=actor, server=server, token="f" * 40)
    drive()
    agreed.refresh_from_db()
    server.refresh_from_db()
    assert (server.state, agreed.failure) == ("healthy", {})


@pytest.mark.services
def test_two_drivers_do_not_share_a_project(create, drive):
    from apps.core.actors import PlaneRole, build_plane_actor

    create()
    worker = build_plane_actor(PlaneRole.WORKER)
    assert importing.take_labelling(actor=worker, owner="first") is not None
    assert importing.take_labelling(actor=worker, owner="second") is None


def test_a_source_without_texts_fails_for_good(create, drive, add_texts):
    add_texts([{"body": "x"}], name="other")
    labelling = create(source="other:v1")
    drive()
    labelling.refresh_from_db()
    assert (labelling.state, "no column" in labelling.failure["message"]) == ("failed", True)
    assert not LabelTask.objects.exists()
