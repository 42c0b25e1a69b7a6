"""Experiments, logged models, and what was said of runs, models and versions: in the projects one may see, no other."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.ml.experiments.models import Experiment, ExperimentTag, LoggedModel, Run, RunParam, RunTag
from apps.ml.registry.models import Alias, Model, ModelTag, ModelVersion, ModelVersionTag
from apps.platform.accounts.models import Membership, Project
from apps.web.search import bounds
from apps.web.search.finders import search

pytestmark = pytest.mark.services


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


EXPECTED = [
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
]


def test_hits_are_of_both_projects_of_a_member(places, actor_for, engineer):
    actor, wrong = actor_for(engineer), {}
    for text, kind, title, why, url in EXPECTED:
        expected = {}
        for project in places[:2]:
            run, logged = Run.objects.get(project=project).pk, LoggedModel.objects.get(project=project).pk
            named = {"slug": project.slug, "run": run[:8], "runid": run, "logged": logged[:10], "id": logged}
            expected[title.format(**named)] = (why, url.format(**named))
        if (hits := found(actor, text).get(kind)) != expected:
            wrong[text] = hits
    assert wrong == {}


def test_wrong_keys_and_values_find_nothing(places, actor_for, engineer):
    actor = actor_for(engineer)
    texts = ["params.team=vision", "tags.optimizer=adam", "optimizer=sgd", "damw", "team=group"]
    assert {text: found(actor, text) for text in texts} == {text: {} for text in texts}


def test_member_of_one_project_finds_its_objects_only(places, actor_for, stranger):
    actor, hits = actor_for(stranger), {}
    for text in ("iris", "net", "adam", "optimizer=adam", "challenger", "oil", "checked", "level-demo@challenger"):
        urls = [url for group in found(actor, text).values() for _text, url in group.values()]
        hits[text] = (len(urls), all(url.startswith("/p/other/") for url in urls))
    assert hits == {text: (0 if "demo" in text else 1, True) for text in hits}


@pytest.mark.parametrize("text", ["level-demo@challenger", "models:/level-demo@challenger"])
def test_a_version_by_its_alias_is_gone_to(text, places, web, engineer):
    answer = web(engineer).get("/search", {"q": text})
    assert (answer.status_code, answer["Location"]) == (302, "/p/demo/models/level-demo/1")


def test_logged_model_by_the_prefix_of_its_id(places, actor_for, engineer):
    pk = LoggedModel.objects.get(project=places[0]).pk
    assert search(actor_for(engineer), pk[:12]).only_exact.url == f"/p/demo/logged-models/{pk}"
    assert search(actor_for(engineer), LoggedModel.objects.get(project=places[2]).pk[:12]).groups == []


def test_deleted_objects_are_not_found(places, actor_for, engineer):
    pk, now = LoggedModel.objects.get(project=places[0]).pk, timezone.now()
    for table in (Experiment, Run, Model, ModelVersion):
        table.objects.update(deleted_at=now)
    for text in ("iris", "net", "adam", "challenger", "oil", "checked", pk):
        assert found(actor_for(engineer), text) == {}


def test_values_of_old_runs_are_not_searched(places, actor_for, engineer, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_ROWS_READ", 6)
    project, experiment = places[0], Experiment.objects.get(project=places[0])
    for number in range(2):
        Run.objects.create(project=project, experiment=experiment, name=f"new {number}", created_by="x")
    actor = actor_for(engineer)
    assert "run demo" not in str(found(actor, "adam"))
    assert "run demo" in str(found(actor, "optimizer=adam"))
    assert "run demo" in str(found(actor, "run demo"))


@pytest.mark.parametrize(("text", "listed"), [("run demo", True), ("optimizer=adam", False)])
def test_run_found_by_a_param_has_no_name_link(text, listed, places, web, engineer):
    page = web(engineer).get("/search", {"q": text, "in": "demo", "all": "1"}).content.decode()
    assert "run demo" in page
    assert ('href="/p/demo/runs?name=' in page) is listed


def test_a_kind_alone_and_within_a_project(places, actor_for, engineer):
    actor = actor_for(engineer)
    assert list(found(actor, "iris", kind="experiment")) == ["experiment"]
    (net,) = found(actor, "net", kind="logged_model", project=places[0])["logged_model"].values()
    assert net[1].startswith("/p/demo/")
    assert found(actor, "iris", kind="run") == {}


def test_search_query_counts_do_not_grow(places, actor_for, engineer):
    actor = actor_for(engineer)

    def count(text):
        with CaptureQueriesContext(connection) as queries:
            search(actor, text)
        return len(queries)

    texts = ["iris", "adam", "optimizer=adam", "challenger", "oil", "nothing at all", "a=", "@b"]
    before = {text: count(text) for text in texts}
    numbers = range(12)
    for project in places:
        experiment, model = Experiment.objects.get(project=project), Model.objects.get(project=project)
        version = model.versions.first()
        facts = {"project": project, "created_by": "x"}
        Experiment.objects.bulk_create(Experiment(number=10 + n, name=f"Iris {n}", **facts) for n in numbers)
        ids = [f"{project.pk:04x}{n:028x}" for n in numbers]
        runs = Run.objects.bulk_create(Run(id=pk, experiment=experiment, name="r", **facts) for pk in ids)
        RunParam.objects.bulk_create(RunParam(run=run, key="optimizer", value="adam") for run in runs)
        Alias.objects.bulk_create(Alias(model=model, name=f"challenger{n}", version=version) for n in numbers)
        ModelTag.objects.bulk_create(ModelTag(model=model, key=f"k{n}", value="oil") for n in numbers)
    assert {text: count(text) for text in texts} == before
