"""Experiments, logged models, and what was said of runs, models and versions: in the projects one may see, no other."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts.models import Membership, Project
from apps.canonical import sha256_hex
from apps.experiments.models import Experiment, ExperimentTag, LoggedModel, Run, RunParam, RunTag
from apps.registry.models import Alias, Model, ModelTag, ModelVersion, ModelVersionTag
from controlplane.search import scope
from controlplane.search.reads import search


def fill(project):
    """One of everything in a project; its slug stands in each name."""
    slug = project.slug
    experiment = Experiment.objects.create(project=project, number=3, name=f"Iris {slug}", created_by="ann")
    ExperimentTag.objects.create(experiment=experiment, key="team", value="vision")
    run = Run.objects.create(project=project, experiment=experiment, name=f"run {slug}", created_by="ann")
    RunParam.objects.create(run=run, key="optimizer", value="adamw")
    RunTag.objects.create(run=run, key="team", value="vision group")
    number = f"{project.pk:032x}"
    LoggedModel.objects.create(id=f"m-{number[::-1]}", project=project, experiment=experiment, name=f"Net {slug}")
    model = Model.objects.create(project=project, name=f"level-{slug}", versions_count=2, created_by="ann")
    ModelTag.objects.create(model=model, key="domain", value="oil")
    facts = {"document": "{}", "task": "", "target": "", "created_by": "ann"}
    digests = {number: sha256_hex(f"{slug} {number}") for number in (1, 2)}
    versions = [ModelVersion.objects.create(model=model, number=n, digest=digests[n], **facts) for n in digests]
    Alias.objects.create(model=model, name="challenger", version=versions[0])
    ModelVersionTag.objects.create(version=versions[1], key="checked", value="by hand")
    return run


@pytest.fixture
def places(project, other_project, engineer):
    """Two projects of the engineer's and a third, which is not."""
    Membership.objects.create(project=other_project, user=engineer, role="engineer")
    third = Project.objects.create(slug="third", name="Third")
    return [fill(one).project for one in (project, other_project, third)]


def found(actor, text, **more):
    """{kind: {title: (text, url)}}"""
    groups = search(actor, text, **more).groups
    return {group.kind: {hit.title: (hit.text, hit.url) for hit in group.hits} for group in groups}


@pytest.mark.parametrize(
    ("text", "kind", "title", "why", "url"),
    [
        ("iris", "experiment", "Iris {slug}", "by ann", "/p/{slug}/runs?experiment=3"),
        ("Iris", "experiment", "Iris {slug}", "by ann", "/p/{slug}/runs?experiment=3"),
        ("net", "logged_model", "Net {slug} {logged}", "by ", "/p/{slug}/logged-models/{id}"),
        ("adam", "run", "{run} run {slug}", "optimizer = adamw", "/p/{slug}/runs/{runid}"),
        ("OPTIM", "run", "{run} run {slug}", "optimizer = adamw", "/p/{slug}/runs/{runid}"),
        ("run vision", "run", "{run} run {slug}", "team = vision group", "/p/{slug}/runs/{runid}"),
        ("optimizer=adam", "run", "{run} run {slug}", "optimizer = adamw", "/p/{slug}/runs/{runid}"),
        ("params.optimizer = 'adamw'", "run", "{run} run {slug}", "optimizer = adamw", "/p/{slug}/runs/{runid}"),
        ("tags.team=vision", "run", "{run} run {slug}", "team = vision group", "/p/{slug}/runs/{runid}"),
        ("challenger", "model", "level-{slug} v1", "alias challenger", "/p/{slug}/models/level-{slug}/1"),
        ("domain=oil", "model", "level-{slug}", "domain = oil", "/p/{slug}/models/level-{slug}"),
        ("oil", "model", "level-{slug}", "domain = oil", "/p/{slug}/models/level-{slug}"),
        ("checked", "model", "level-{slug} v2", "checked = by hand", "/p/{slug}/models/level-{slug}/2"),
        ("by hand", "model", "level-{slug} v2", "checked = by hand", "/p/{slug}/models/level-{slug}/2"),
    ],
)
def test_it_is_found_in_both_projects_and_in_no_other(text, kind, title, why, url, places, actor_for, engineer):
    hits = found(actor_for(engineer), text)[kind]
    expected = {}
    for project in places[:2]:
        run, logged = Run.objects.get(project=project).pk, LoggedModel.objects.get(project=project).pk
        named = {"slug": project.slug, "run": run[:8], "runid": run, "logged": logged[:10], "id": logged}
        expected[title.format(**named)] = (why, url.format(**named))
    assert hits == expected


@pytest.mark.parametrize("text", ["params.team=vision", "tags.optimizer=adam", "optimizer=sgd", "damw", "team=group"])
def test_what_was_not_said_is_not_found(text, places, actor_for, engineer):
    assert found(actor_for(engineer), text) == {}


@pytest.mark.parametrize(
    "text", ["iris", "net", "adam", "optimizer=adam", "challenger", "oil", "checked", "level-demo@challenger"]
)
def test_a_member_of_another_project_finds_what_is_there_alone(text, places, actor_for, stranger):
    urls = [url for hits in found(actor_for(stranger), text).values() for _text, url in hits.values()]
    assert [url for url in urls if not url.startswith("/p/other/")] == []
    assert len(urls) == (0 if "demo" in text else 1)


@pytest.mark.parametrize("text", ["level-demo@challenger", "models:/level-demo@challenger"])
def test_a_version_by_its_alias_is_gone_to(text, places, web, engineer):
    answer = web(engineer).get("/search", {"q": text})
    assert (answer.status_code, answer["Location"]) == (302, "/p/demo/models/level-demo/1")


def test_a_logged_model_by_the_beginning_of_its_id(places, actor_for, engineer):
    pk = LoggedModel.objects.get(project=places[0]).pk
    assert search(actor_for(engineer), pk[:12]).one.url == f"/p/demo/logged-models/{pk}"
    assert search(actor_for(engineer), LoggedModel.objects.get(project=places[2]).pk[:12]).groups == []


def test_what_was_deleted_is_not_found(places, actor_for, engineer):
    pk, now = LoggedModel.objects.get(project=places[0]).pk, timezone.now()
    for table in (Experiment, Run, Model, ModelVersion):
        table.objects.update(deleted_at=now)
    for text in ("iris", "net", "adam", "challenger", "oil", "checked", pk):
        assert found(actor_for(engineer), text) == {}


def test_old_runs_are_not_asked_for_what_was_said_of_them(places, actor_for, engineer, monkeypatch):
    monkeypatch.setattr(scope, "READ", 6)
    project, experiment = places[0], Experiment.objects.get(project=places[0])
    for number in range(2):
        Run.objects.create(project=project, experiment=experiment, name=f"new {number}", created_by="x")
    actor = actor_for(engineer)
    assert "run demo" not in str(found(actor, "adam"))
    assert "run demo" in str(found(actor, "optimizer=adam"))
    assert "run demo" in str(found(actor, "run demo"))


@pytest.mark.parametrize(("text", "listed"), [("run demo", True), ("optimizer=adam", False)])
def test_what_a_param_found_is_not_looked_for_by_name(text, listed, places, web, engineer):
    page = web(engineer).get("/search", {"q": text, "in": "demo", "all": "1"}).content.decode()
    assert "run demo" in page
    assert ('href="/p/demo/runs?name=' in page) is listed


def test_a_kind_alone_and_within_a_project(places, actor_for, engineer):
    actor = actor_for(engineer)
    assert list(found(actor, "iris", kind="experiment")) == ["experiment"]
    (net,) = found(actor, "net", kind="logged_model", project=places[0])["logged_model"].values()
    assert net[1].startswith("/p/demo/")
    assert found(actor, "iris", kind="run") == {}


@pytest.mark.parametrize("text", ["iris", "adam", "optimizer=adam", "challenger", "oil", "nothing at all", "a=", "@b"])
def test_as_many_queries_however_much_there_is(text, places, actor_for, engineer):
    def count():
        with CaptureQueriesContext(connection) as seen:
            search(actor_for(engineer), text)
        return len(seen)

    before = count()
    for project in places:
        experiment, model = Experiment.objects.get(project=project), Model.objects.get(project=project)
        for number in range(12):
            Experiment.objects.create(project=project, number=10 + number, name=f"Iris {number}", created_by="x")
            run = Run.objects.create(project=project, experiment=experiment, name="r", created_by="x")
            RunParam.objects.create(run=run, key="optimizer", value="adam")
            Alias.objects.create(model=model, name=f"challenger{number}", version=model.versions.first())
            ModelTag.objects.create(model=model, key=f"k{number}", value="oil")
    assert count() == before
