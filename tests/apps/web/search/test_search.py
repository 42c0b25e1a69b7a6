"""What the page and the call find: by name, number, version and digest, and only what the reader may see."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.core.errors import Invalid
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.ml.experiments.models import Experiment, Run
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import JobOutput
from apps.platform.jobs.states import JobState
from apps.platform.nodes.models import Node
from apps.web.search import bounds
from apps.web.search.finders import search
from tests.walking import approval_of, job_of

pytestmark = pytest.mark.services

DIGEST = sha256_hex("bytes")


@pytest.fixture
def job(project):
    job = job_of(project, JobState.SUCCEEDED, 1)
    job.name = "clean the prices"
    job.save()
    return job


@pytest.fixture
def version(project):
    dataset = Dataset.objects.create(project=project, name="wti-daily", versions_count=3, created_by="x")
    facts = {"manifest": "{}", "media_type": "text/csv", "size": 5, "created_by": "x"}
    return DatasetVersion.objects.create(dataset=dataset, number=3, digest=sha256_hex("manifest"), **facts)


@pytest.fixture
def held(project, job, version):
    """One file, which a job made and a version is of."""
    artifact = Artifact.objects.create(digest=DIGEST, size=5)
    Holding.objects.create(project=project, artifact=artifact, name="t.csv", created_by="x")
    DatasetFile.objects.create(version=version, path="t.csv", artifact=artifact, media_type="text/csv")
    JobOutput.objects.create(job=job, slot="table", artifact=artifact, name="t.csv", media_type="text/csv")
    return artifact


def titles(found) -> dict[str, list[str]]:
    return {group.kind: [hit.title for hit in group.hits] for group in found.groups}


@pytest.mark.parametrize("text", ["prices", "PRICE", "clean prices", "succeeded prices"])
def test_a_job_by_words(text, actor_for, engineer, job):
    assert titles(search(actor_for(engineer), text)) == {"job": [f"#{job.pk} clean clean the prices"]}


@pytest.mark.parametrize("text", ["#{}", "{}", "job {}"])
def test_a_number_is_gone_to_at_once(text, engineer, web, job):
    answer = web(engineer).get("/search", {"q": text.format(job.pk)})
    assert (answer.status_code, answer["Location"]) == (302, f"/p/demo/jobs/{job.pk}")


def test_a_number_that_two_things_have_is_a_choice(engineer, web, project, job):
    approval = approval_of(project, "pending", 1)
    approval.pk = job.pk
    approval.save()
    answer = web(engineer).get("/search", {"q": f"#{job.pk}"})
    assert answer.status_code == 200
    assert f"/p/demo/approvals/{job.pk}" in answer.content.decode()


def test_the_number_comes_before_newer_names_with_these_digits(actor_for, engineer, project, job):
    for number in range(8):
        other = job_of(project, JobState.SUCCEEDED, number)
        other.name = f"again {job.pk}"
        other.save()
    assert search(actor_for(engineer), str(job.pk)).only_exact.url == f"/p/demo/jobs/{job.pk}"


def test_a_version_by_name_and_number(actor_for, engineer, version):
    assert search(actor_for(engineer), "wti-daily v3").only_exact.url == "/p/demo/data/wti-daily/3"
    assert titles(search(actor_for(engineer), "wti-daily v4")) == {"dataset": ["wti-daily"]}


def test_where_the_bytes_of_a_digest_are(actor_for, engineer, job, held):
    found = titles(search(actor_for(engineer), DIGEST[:8]))
    assert found == {"job": [f"#{job.pk} clean clean the prices"], "dataset": ["wti-daily v3"]}


def test_a_digest_that_one_thing_has_is_gone_to(engineer, web, version):
    answer = web(engineer).get("/search", {"q": version.digest[:10]})
    assert answer.status_code == 302
    assert "/data/wti-daily/" in answer["Location"]


def test_a_run_by_the_beginning_of_its_id(actor_for, engineer, project):
    experiment = Experiment.objects.create(project=project, number=0, name="Default", created_by="x")
    run = Run.objects.create(project=project, experiment=experiment, name="first", created_by="x")
    assert search(actor_for(engineer), run.pk[:7]).only_exact.url == f"/p/demo/runs/{run.pk}"


def test_a_word_of_hex_letters_is_a_name_first(actor_for, engineer, project):
    Dataset.objects.create(project=project, name="facade", created_by="x")
    assert titles(search(actor_for(engineer), "facade")) == {"dataset": ["facade"]}


@pytest.mark.parametrize("text", ["prices", "wti", "{pk}", DIGEST[:8]])
def test_a_stranger_finds_nothing(text, actor_for, stranger, job, held):
    assert search(actor_for(stranger), text.format(pk=job.pk)).groups == []


def test_people_are_found_by_whom_they_are_with(actor_for, engineer, viewer, stranger, sysadmin, auditor):
    assert titles(search(actor_for(engineer), "viewer")) == {"person": ["viewer"]}
    assert titles(search(actor_for(engineer), "stranger")) == {}
    assert titles(search(actor_for(sysadmin), "stranger")) == {"person": ["stranger"]}


def test_nodes_for_those_who_may_see_them(actor_for, engineer, secadmin):
    Node.objects.create(name="gpu-07", host="rack")
    assert titles(search(actor_for(engineer), "gpu")) == {"node": ["gpu-07"]}
    assert titles(search(actor_for(secadmin), "gpu")) == {}


def test_what_the_auditor_finds_of_approvals_is_recorded_once(actor_for, auditor, project):
    approval_of(project, "pending", 5).save()
    assert titles(search(actor_for(auditor), "promote", typing=True)) == {}
    assert titles(search(actor_for(auditor), "promote"))["approval"] != []
    assert AuditRecord.objects.filter(action="approval.view").count() == 1


def test_old_names_are_not_read_old_numbers_are(actor_for, engineer, project, job, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_ROWS_READ", 3)
    for number in range(4):
        job_of(project, JobState.QUEUED, number).save()
    actor = actor_for(engineer)
    assert titles(search(actor, "prices")) == {}
    assert search(actor, f"#{job.pk}").only_exact is not None


def test_five_of_each_and_the_rest_alone(actor_for, engineer, project):
    for number in range(8):
        job_of(project, JobState.QUEUED, number).save()
    actor = actor_for(engineer)
    first = search(actor, "job").groups[0]
    assert (len(first.hits), first.more) == (5, True)
    alone = search(actor, "job", kind="job").groups[0]
    assert (len(alone.hits), alone.more) == (8, False)


def test_a_kind_that_does_not_exist_is_named(actor_for, engineer, db):
    with pytest.raises(Invalid) as caught:
        search(actor_for(engineer), "x1", kind="planet")
    assert caught.value.field == "kind"


def test_odd_texts_are_answered(engineer, web, job):
    client = web(engineer)
    texts = ["", "a", "%", "_%_", "\x00", "'; drop", "x" * 300, "…", "#", "v3"]
    statuses = {text: client.get("/search", {"q": text, "all": "1"}).status_code for text in texts}
    assert statuses == dict.fromkeys(texts, 200)


def test_typing_answers_options_without_the_frame(engineer, web, job):
    answer = web(engineer).get("/search", {"q": "prices"}, headers={"HX-Request": "true"})
    text = answer.content.decode()
    assert 'role="option"' in text
    assert "<html" not in text


def test_search_query_counts(engineer, web, held):
    limits = {"prices": 20, DIGEST[:8]: 19, "wti v3": 20, "12": 20, "facade": 21}  # a word, and digits of a digest too
    client, counts = web(engineer), {}
    for text in limits:
        client.get("/search?all=1", {"q": text})
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/search", {"q": text, "all": "1"}).status_code == 200
        counts[text] = len(queries)
    assert {text: count for text, count in counts.items() if count > limits[text]} == {}


def test_a_token_finds_what_its_project_holds(make_token, engineer, other_project, api, job):
    from apps.platform.accounts.models import Membership

    Membership.objects.create(project=other_project, user=engineer, role="engineer")
    elsewhere = job_of(other_project, JobState.QUEUED, 2)
    elsewhere.name, elsewhere.queued_at = "prices too", timezone.now()
    elsewhere.save()
    secret, _token = make_token(engineer)
    answer = api(secret).get("/api/v1/search", {"q": "prices"}).json()
    assert [hit["title"] for group in answer["groups"] for hit in group["hits"]] == [
        f"#{job.pk} clean clean the prices"
    ]


def test_a_token_without_the_scope_is_refused(make_token, engineer, api, job):
    secret, _token = make_token(engineer, scopes=["data:write"])
    answer = api(secret).get("/api/v1/search", {"q": "prices"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing")
