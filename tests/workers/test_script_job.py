"""A script job on a node: what its sandbox refuses, its faults, its checkpoint after a retry, its dataset version."""

from __future__ import annotations

import json
import os
import zipfile

import pytest

from apps.core.errors import PlaneError
from apps.data.datasets.models import DatasetVersion
from apps.ml.experiments.models import Run, RunToken
from apps.ml.registry.models import ModelVersion
from apps.platform.artifacts.services import store_file
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import retry_job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec
from apps.platform.nodes.extras import SCRIPTS
from workers import isolation, tasks
from workers.inputs import script

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def locked_in(node):
    """A node that runs scripts."""
    if not isolation.detect_isolation().runs_scripts:
        pytest.skip(f"this machine cannot lock scripts in: {isolation.detect_isolation().facts()}")
    node.extras = [SCRIPTS]
    node.save()
    return node


@pytest.fixture
def run_script(worker, locked_in, submit, project, engineer, actor_for, engine_processes, tmp_path):
    """run_script(code, **spec and how) -> the job as it ended its first attempt."""

    def run(code: str, *, how=None, inputs=(), register=None, **spec) -> Job:
        spec = {"command": ["python", "train.py"], **spec}
        with zipfile.ZipFile(tmp_path / "code.zip", "w") as zipped:
            zipped.writestr("train.py", code)
        artifact = store_file(actor=actor_for(engineer), project=project, path=tmp_path / "code.zip")
        job = submit(
            kind="script",
            spec=spec,
            inputs=[InputSpec(slot="code", digest=artifact.digest), *inputs],
            register=register or {},
            **(how or {}),
        )
        tasks.run_next("cpu")
        return Job.objects.get(pk=job.pk)

    return run


def read_output(job: Job, slot: str) -> bytes:
    return b"".join(get_store().open(job.outputs.get(slot=slot).artifact_id))


def test_what_a_script_may_not_do_is_refused(run_script, tmp_path, project, actor_for, engineer):
    (tmp_path / "scratch/test/another-job").mkdir(parents=True)
    (tmp_path / "table.csv").write_text("day\n1\n")
    data = store_file(actor=actor_for(engineer), project=project, path=tmp_path / "table.csv")
    code = f"""
import json, os, pathlib, socket
tried = {{}}
def attempt(name, action):
    try:
        tried[name] = repr(action())
    except OSError:
        tried[name] = "refused"

home, data, out = {str(tmp_path)!r}, pathlib.Path(os.environ["DATA"]), pathlib.Path(os.environ["OUT"])
attempt("socket", lambda: socket.create_connection(("192.0.2.1", 80), 2))
attempt("name", lambda: socket.getaddrinfo("plane.example", 80))
attempt("write code", lambda: open("written", "w"))
attempt("write data", lambda: open(data / "written", "w"))
attempt("write over data", lambda: open(data / "prices/table.csv", "w"))
attempt("write system", lambda: open("/etc/written", "w"))
attempt("other job", lambda: os.listdir(home + "/scratch/test/another-job"))
attempt("worker", lambda: open("/proc/{os.getpid()}/environ", "rb").read())
attempt("kill", lambda: os.kill({os.getpid()}, 0))
tried["processes"] = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())[-1] < 50
tried["read"] = (data / "prices/table.csv").read_text()
(out / "tried.json").write_text(json.dumps(tried))
"""
    job = run_script(code, inputs=[InputSpec(slot="prices/table.csv", digest=data.digest)], outputs=["tried.json"])
    assert (job.state, job.error) == (JobState.SUCCEEDED, None)
    tried = json.loads(read_output(job, "tried.json"))
    assert tried.pop("read") == "day\n1\n"
    assert tried.pop("processes") is True
    assert {name: outcome for name, outcome in tried.items() if outcome != "refused"} == {}
    assert Run.objects.get().state == "finished"
    assert not RunToken.objects.exists()


def test_faults_of_a_script_are_named(run_script):
    memory = 64 * 2**20
    cases = {
        "raise SystemExit(4)": ("script_failed", {}),
        "pass": ("output_missing", {"outputs": ["model.pt"]}),
        "import os, time\ntry:\n  while True:\n    os.fork() or time.sleep(60)\nexcept OSError: raise SystemExit(7)": (
            "script_failed",
            {},
        ),
        f"b = bytearray({memory * 4}); b[::4096] = b'x' * len(b[::4096]); import time; time.sleep(30)": (
            "memory_limit",
            {},
        ),
    }
    wrong = {}
    for code, (expected, spec) in cases.items():
        needs = Needs(memory_bytes=memory if expected == "memory_limit" else 2**30, extra=SCRIPTS)
        job = run_script(code, how={"needs": needs, "max_attempts": 1}, **spec)
        if job.state != JobState.FAILED or job.error["code"] != expected:
            wrong[code] = job.state, job.error
    assert wrong == {}


def test_checkpoint_is_given_back_after_a_retry(run_script, actor_for, engineer):
    code = """
import os, pathlib
kept = pathlib.Path(os.environ["CHECKPOINT"], "step")
if not kept.exists():
    kept.write_text("41")
    raise SystemExit(1)
pathlib.Path(os.environ["OUT"], "went-on.txt").write_text(str(int(kept.read_text()) + 1))
"""
    job = run_script(code)
    assert job.error["code"] == "script_failed"
    retry_job(actor=actor_for(engineer), job=job)
    tasks.run_next("cpu")
    job.refresh_from_db()
    assert (job.state, read_output(job, "went-on.txt")) == (JobState.SUCCEEDED, b"42")


def test_table_becomes_a_dataset_version(run_script):
    code = "import os; open(os.environ['OUT'] + '/rows.csv', 'w').write('a,b\\n1,2\\n3,4\\n')"
    job = run_script(code, register={"dataset": "made"})
    assert job.state == JobState.SUCCEEDED, job.error
    version = DatasetVersion.objects.get(dataset__name="made")
    assert (version.rows, version.job_id, version.script) == (2, job.pk, "python train.py")


def test_model_folder_becomes_a_model_version(run_script):
    code = """
import os, pathlib
folder = pathlib.Path(os.environ["OUT"], "model")
folder.mkdir()
(folder / "weights.bin").write_bytes(b"weights")
(folder.parent / "notes.txt").write_text("beside it")
"""
    job = run_script(code, register={"model": "net"})
    assert job.state == JobState.SUCCEEDED, job.error
    version = ModelVersion.objects.get(model__name="net")
    assert (version.created_by, version.run.job_id, [file.path for file in version.files.all()]) == (
        "engineer",
        job.pk,
        ["weights.bin"],
    )


def test_script_without_its_table_fails_with_the_remedy(run_script):
    job = run_script("pass", register={"dataset": "made"}, how={"max_attempts": 1})
    assert (job.state, job.error["code"], job.error["field"]) == (JobState.FAILED, "table_missing", "/spec/table")


def test_node_that_cannot_lock_it_in_refuses(monkeypatch, settings, tmp_path):
    """Also where it says otherwise: the operator has to allow it on the node itself."""
    job = Job(kind="script", spec="{}", need_memory_bytes=2**28)
    monkeypatch.setattr(isolation, "detect_isolation", lambda: isolation.Isolation("none"))
    with pytest.raises(PlaneError) as failure:
        isolation.plan_confinement(job, tmp_path, 0)
    assert failure.value.code == "sandbox_missing"
    settings.ENV = settings.ENV.model_copy(update={"script_sandbox": "off"})
    assert isolation.plan_confinement(job, tmp_path, 0)["sandbox"]["own_processes"] is False


def test_inputs_have_to_be_paths(tmp_path):
    wrong = {}
    for number, slots in enumerate((["../x"], ["/etc/x"], ["a", "a/b"], ["a/b", "a"])):
        folder = tmp_path / str(number)
        folder.mkdir()
        with zipfile.ZipFile(folder / "code.zip", "w") as zipped:
            zipped.writestr("train.py", "")
        staged = {"code": str(folder / "code.zip")}
        for index, slot in enumerate(slots):
            (folder / f"{index:03d}").touch()
            staged[slot] = str(folder / f"{index:03d}")
        try:
            wrong[str(slots)] = script.arrange_inputs(folder, staged)
        except PlaneError as error:
            if error.code != "bad_input_path" or not error.hint:
                wrong[str(slots)] = error
    assert wrong == {}
