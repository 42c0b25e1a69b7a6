import pytest

from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling.placement import build_fits_filter, explain_why_not, get_total_capacity
from apps.platform.jobs.serializers import NeedsBody, merge_needs
from apps.platform.jobs.specforms.resource_fields import read_needs
from apps.platform.nodes.models import Node

NODE = Node(name="gpu-01", cpus=16, memory_bytes=64 * 2**30, queues=["cpu"], labels=["nvme", "rack=3"])


def build_job(labels: str) -> Job:
    return Job(queue="cpu", need_cpus=1, need_memory_bytes=1, need_labels=labels)


def test_a_job_runs_only_where_all_of_its_labels_are():
    reasons = {labels: explain_why_not(build_job(labels), NODE, [], online=True) for labels in LABELS}
    assert reasons == LABELS


LABELS = {
    "": "",
    "nvme": "",
    "nvme,rack=3": "",
    "rack=4": "lacks the label rack=4",
    "a,nvme": "lacks the label a",
}


@pytest.mark.django_db
def test_the_database_finds_the_same_jobs(project):
    for labels in LABELS:
        Job.objects.create(
            project=project, kind="noop", queue="cpu", need_labels=labels, spec="{}", grant={}, time_limit_seconds=1
        )
    fits = Job.objects.filter(build_fits_filter(get_total_capacity(NODE)))
    assert set(fits.values_list("need_labels", flat=True)) == {labels for labels, why in LABELS.items() if not why}


def test_labels_of_a_body_and_of_a_form_are_kept_sorted():
    assert merge_needs(NeedsBody(labels=["rack=3", "nvme"]), "noop").labels == "nvme,rack=3"
    needs, errors = read_needs({"needs/labels": "rack=3, nvme"}, KINDS["noop"].needs)
    assert (needs.labels, errors) == ("nvme,rack=3", {})
    _, errors = read_needs({"needs/labels": "a=b=c"}, KINDS["noop"].needs)
    assert "a=b=c" in errors["needs/labels"]
    assert KINDS["noop"].needs.as_body().get("labels") is None
