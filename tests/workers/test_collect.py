"""A collection through a worker: claimed, done in a child process, registered with quality and lineage."""

import threading

import pytest

from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.queries import read_quality_report
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.lineage.models import Edge
from tests.site import HAS_BROWSER, NO_BROWSER, serving
from workers import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site():
    with serving() as served:
        yield served


@pytest.fixture
def worker(worker, settings, engine_processes):
    """A worker that may collect; its engine takes the list of hosts from its environment."""
    settings.ENV = settings.ENV.model_copy(update={"collect_hosts": ["127.0.0.1"]})
    worker.node.extras = ["collect", "collect-browser"]
    worker.node.save()
    return worker


def spec(site, **more):
    fields = [{"name": "name", "select": "a"}, {"name": "price", "select": "b", "type": "number"}]
    rate = {"requests_per_second": 100.0, "autothrottle": False, "retries": 0}
    page = {"items": "li", "fields": fields}
    return {"start_urls": [f"{site.base}/"], "allowed_hosts": ["127.0.0.1"], "pages": [page], "rate": rate} | more


def done(job) -> Job:
    tasks.run_next("cpu")
    return Job.objects.get(pk=job.pk)


@pytest.mark.e2e  # drives a browser
@pytest.mark.skipif(not HAS_BROWSER, reason=NO_BROWSER)
def test_records_become_a_version_with_quality_and_lineage(worker, site, submit):
    site.page("/", "<li><a href=/js>A</a><b>1</b></li>")
    site.page("/js", "<ul id=u></ul><script>u.innerHTML = '<li><a>late</a><b>2</b></li>'</script>")
    given = spec(site, follow={"links": "li"}, keep_bodies=True)
    given["pages"] = [given["pages"][0] | {"match": "*/js", "render": "browser", "wait_for": "li"}, *given["pages"]]
    job = done(submit("collect", given, register={"dataset": "prices"}))
    assert (job.state, job.error) == (JobState.SUCCEEDED, None)
    assert set(job.outputs.values_list("slot", flat=True)) == {"records", "quality", "report", "bodies"}
    version = DatasetVersion.objects.get(dataset__name="prices")
    assert (version.rows, version.job_id, version.columns[0]["name"]) == (2, job.pk, "source_url")
    assert read_quality_report(worker.actor, version)["rows"] == 2
    edges = Edge.objects.values_list("source_type", "source_label", "target_type", "role")
    assert set(edges) == {
        ("source", f"{site.base}/", "job", "start"),
        ("job", f"#{job.pk} collect", "dataset_version", "records"),
    }


def test_records_without_dataset_stay_an_artifact(worker, site, submit):
    site.page("/", "<li><a>A</a><b>1</b></li>")
    job = done(submit("collect", spec(site)))
    assert (job.state, DatasetVersion.objects.count()) == (JobState.SUCCEEDED, 0)
    assert Edge.objects.filter(source_type="source", target_id=str(job.pk)).count() == 1


def test_host_list_of_worker_decides(worker, site, submit, settings):
    job = submit("collect", spec(site))
    settings.ENV = settings.ENV.model_copy(update={"collect_hosts": ["wiki.bank.example"]})
    job = done(job)
    assert (job.state, job.error["code"], job.attempt) == (JobState.FAILED, "host_not_allowed", 1)
    assert not site.asked


def test_cancelled_collection_leaves_nothing(worker, site, submit, tmp_path):
    site.slow("/", 30.0)
    job = submit("collect", spec(site))
    thread = threading.Thread(target=lambda: tasks.run_next("cpu"))
    thread.start()
    for _ in range(600):
        if site.asked["/"]:
            break
        threading.Event().wait(0.05)
    next(iter(worker.heartbeat.attempts.values())).stop("cancelled")
    worker.stopping.set()
    thread.join(timeout=120)
    job.refresh_from_db()
    assert (job.state, job.outputs.count()) == (JobState.CANCELLED, 0)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".out")]
