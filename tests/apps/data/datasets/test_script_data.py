"""Dataset versions that a script names: found when it is submitted, each file under its path."""

from __future__ import annotations

import pytest

from apps.core.errors import PlaneError, Refused
from apps.data.datasets.versions.script_data import build_data_slot
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import InputSpec, Submission
from apps.platform.nodes.extras import SCRIPTS
from apps.platform.nodes.models import Node


@pytest.fixture
def submit_script(project, engineer, actor_for, held):
    Node.objects.create(name="n", host="n", queues=["cpu"], cpus=4, memory_bytes=2**33, extras=[SCRIPTS])
    code = held(b"code", media_type="application/zip").digest

    def submit(*data: str, who=None) -> Job:
        spec = {"command": ["python", "train.py"], "data": list(data)}
        submission = Submission(kind="script", spec=spec, inputs=[InputSpec(slot="code", digest=code)])
        return submit_job(actor=who or actor_for(engineer), project=project, submission=submission)[0]

    return submit


def test_each_file_becomes_an_input_under_its_path(submit_script, added, held):
    first, second = held(b"a\n1\n"), held(b"a\n2\n")
    added({"day/one.csv": first, "two.csv": second})
    job = submit_script("wti-daily:v1")
    inputs = dict(job.inputs.exclude(slot="code").values_list("slot", "artifact_id"))
    assert inputs == {"wti-daily/day/one.csv": first.digest, "wti-daily/two.csv": second.digest}


def test_what_is_not_there_is_named(submit_script, added, held):
    added({"two.csv": held(b"a\n2\n")})
    with pytest.raises(PlaneError) as failure:
        submit_script("wti-daily:v9", "nothing:v1", "wti-daily:1")
    errors = [(error["code"], error["field"]) for error in failure.value.errors]
    assert errors == [
        ("data_unknown", "/spec/data/0"),
        ("data_unknown", "/spec/data/1"),
        ("duplicate_data", "/spec/data/2"),
    ]
    assert all(error["hint"] and error["limit"] for error in failure.value.errors)
    assert not Job.objects.filter(kind="script").exists()


def test_who_may_not_run_scripts_is_refused(submit_script, added, held, actor_for, approver):
    added({"two.csv": held(b"a\n2\n")})
    with pytest.raises(Refused):
        submit_script("wti-daily:v1", who=actor_for(approver))


def test_plane_without_a_node_lets_it_wait(submit_script):
    """Its first worker is still starting."""
    Node.objects.all().delete()
    assert submit_script().state == "queued"


def test_long_paths_stay_apart():
    paths = [f"{'folder/' * 40}{name}.parquet" for name in "ab"]
    slots = [build_data_slot("wti-daily", path) for path in paths]
    assert len(set(slots)) == 2
    assert all(len(slot) <= 255 and slot.startswith("wti-daily/") and slot.endswith(".parquet") for slot in slots)
