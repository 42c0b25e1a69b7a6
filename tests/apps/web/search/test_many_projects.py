"""A member of more projects than a search reads the names of: what an index finds is found in all of them."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.canonical import sha256_hex
from apps.data.datasets.models import Dataset
from apps.ml.experiments.models import Experiment, Run
from apps.ml.registry.models import Alias, Model, ModelVersion, Variant
from apps.platform.accounts.models import Membership, Project
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.jobs.states import JobState
from apps.web.search.finders import search
from tests.walking import job_of

pytestmark = pytest.mark.services

COUNT, READ = 25, 20
LAST = f"p{COUNT:02}"
BYTES = sha256_hex("a variant")


@pytest.fixture
def last(db, engineer):
    """The last of 25 projects of the engineer's by slug, with one of everything in it."""
    made = Project.objects.bulk_create(Project(slug=f"p{n:02}", name="x") for n in range(1, COUNT + 1))
    Membership.objects.filter(user=engineer).delete()
    Membership.objects.bulk_create(Membership(project=one, user=engineer, role="engineer") for one in made)
    last = made[-1]
    experiment = Experiment.objects.create(project=last, number=3, name="Iris in June", created_by="x")
    Run.objects.create(project=last, experiment=experiment, name="Deep water", created_by="x")
    Dataset.objects.create(project=last, name="far-away", versions_count=3, created_by="x")
    model = Model.objects.create(project=last, name="farther", versions_count=1, created_by="x")
    facts = {"document": "{}", "task": "", "target": "", "created_by": "x"}
    version = ModelVersion.objects.create(model=model, number=1, digest=sha256_hex("a version"), **facts)
    Alias.objects.create(model=model, name="champion", version=version)
    artifact = Artifact.objects.create(digest=BYTES, size=5)
    Holding.objects.create(project=last, artifact=artifact, name="m.bin", created_by="x")
    Variant.objects.create(
        version=version, name="fp32", artifact=artifact, manifest=artifact, format="x", size=5, figures={}
    )
    job_of(last, JobState.SUCCEEDED, 1).save()
    return last


def urls(found):
    return [hit.url for group in found.groups for hit in group.hits]


EXPECTED = [
    ("{run}", "/p/{slug}/runs/{run}"),
    ("{start}", "/p/{slug}/runs/{run}"),
    ("#{job}", "/p/{slug}/jobs/{job}"),
    ("Deep water", "/p/{slug}/runs/{run}"),
    ("Iris in June", "/p/{slug}/runs?experiment=3"),
    ("far-away", "/p/{slug}/data/far-away"),
    ("far-away v2", "/p/{slug}/data/far-away/2"),
    ("farther", "/p/{slug}/models/farther"),
    ("farther v1", "/p/{slug}/models/farther/1"),
    ("farther@champion", "/p/{slug}/models/farther/1"),
    (sha256_hex("a version"), "/p/{slug}/models/farther/1"),
    (BYTES[:12], "/p/{slug}/models/farther/1"),
]


def test_indexed_searches_cover_the_last_project(last, actor_for, engineer):
    run, actor = Run.objects.get().pk, actor_for(engineer)
    named = {"slug": last.slug, "run": run, "start": run[:9], "job": last.jobs.get().pk}
    hits = {text: urls(search(actor, text.format(**named))) for text, _ in EXPECTED}
    assert hits == {text: [url.format(**named)] for text, url in EXPECTED}


def test_parts_of_names_skip_projects_and_list_them(last, actor_for, engineer, web):
    found = search(actor_for(engineer), "water")
    assert (urls(found), found.left_out) == ([], [f"p{n}" for n in range(READ + 1, COUNT + 1)])
    page = web(engineer).get("/search", {"q": "water"}).content.decode()
    assert "In <b>5 projects</b> only numbers, digests and whole names were looked up." in page
    assert "Nothing that you may see" not in page
    assert f'href="?q=water&amp;in={LAST}"' in page
    assert "Deep water" in web(engineer).get("/search", {"q": "water", "in": LAST}).content.decode()


def test_rest_lists_skipped_projects(last, engineer, web):
    client = web(engineer)
    assert client.get("/api/v1/search", {"q": "water"}).json()["left_out"] == [f"p{n}" for n in range(READ + 1, 26)]
    assert client.get("/api/v1/search", {"q": "water", "project": LAST}).json()["left_out"] == []


def test_exact_name_comes_first(last, actor_for, engineer):
    project, experiment = Project.objects.get(slug="p01"), Experiment.objects.get()
    for number in range(8):
        Run.objects.create(project=last, experiment=experiment, name=f"Deep water {number}", created_by="x")
        Experiment.objects.create(project=project, number=number, name=f"Iris in June {number}", created_by="x")
        Dataset.objects.create(project=project, name=f"a-far-away-{number}", created_by="x")
    for text, kind in (("Deep water", "run"), ("Iris in June", "experiment"), ("far-away", "dataset")):
        first = next(group.hits[0] for group in search(actor_for(engineer), text).groups if group.kind == kind)
        assert first.title.endswith(text)
        assert first.project == LAST


def test_digest_of_another_project_is_not_found_in_one(last, actor_for, engineer):
    assert urls(search(actor_for(engineer), BYTES, project=Project.objects.get(slug="p01"))) == []


def test_search_query_counts_in_many_projects(last, engineer, web):
    client, counts = web(engineer), {}
    for text in ("water", "Deep water", "farther v1", "12", BYTES[:8]):
        client.get("/search?all=1", {"q": text})
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/search", {"q": text, "all": "1"}).status_code == 200
        counts[text] = len(queries)
    assert {text: count for text, count in counts.items() if count > 20} == {}
