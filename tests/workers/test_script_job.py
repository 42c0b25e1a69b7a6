"""A script job on a node: what its sandbox refuses, its faults, its checkpoint after a retry, its dataset version."""

from __future__ import annotations

import json
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
from tests.workers.images.builder import build_python_image
from workers import isolation, tasks
from workers.images import store
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


@pytest.fixture
def probe(tmp_path, project, actor_for, engineer):
    """What a script tries that it may not do, and a table that it may read; each outcome goes to tried.json."""
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
# more
(out / "tried.json").write_text(json.dumps(tried))
"""
    return code, {"inputs": [InputSpec(slot="prices/table.csv", digest=data.digest)], "outputs": ["tried.json"]}


def find_reached(job: Job) -> dict:
    """What the script of `probe` found, without what it may do."""
    assert (job.state, job.error) == (JobState.SUCCEEDED, None), [
        each.payload for each in job.events.filter(kind="log")
    ]
    tried = json.loads(read_output(job, "tried.json"))
    assert tried.pop("read") == "day\n1\n"
    assert tried.pop("processes") is True
    return {name: outcome for name, outcome in tried.items() if outcome != "refused"}


def test_what_a_script_may_not_do_is_refused(run_script, probe):
    code, options = probe
    assert find_reached(run_script(code, **options)) == {}
    assert Run.objects.get().state == "finished"
    assert not RunToken.objects.exists()


IN_IMAGE = """
import sys
address = os.environ["MLFLOW_TRACKING_URI"].removeprefix("http://").split(":")
with socket.create_connection((address[0], int(address[1])), 10) as plane:
    plane.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    tried["plane"] = plane.makefile().read().split()[-1]
def make_files():
    for name in ("/written", "/opt/written", "/opt/python/bin/python", "/job/inputs/written", "/dev/written"):
        try:
            open(name, "w")
            return name
        except OSError:
            pass
    raise OSError
attempt("write image", make_files)
attempt("new root", lambda: os.chroot("/opt"))
attempt("device", lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0)))
attempt("descriptors", lambda: os.fstat(3))
for name in ("/tmp", "/var/tmp", "/dev/shm", os.environ["HOME"], os.environ["CHECKPOINT"]):
    if os.path.isdir(name):
        open(name + "/written", "w").write("x")
with socket.create_server(("localhost", 0)) as server:
    tried["localhost"] = server.getsockname()[0]
tried["not of the image"] = sorted({"boot", "home", "secret", "srv", "usr", "var"} & set(os.listdir("/")))
tried["python"], tried["of image"] = sys.executable, [os.environ["OF_IMAGE"], os.environ["OUT"][:5]]
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
tried["rights"] = [status[name].strip() for name in ("CapEff", "CapBnd", "NoNewPrivs")]
"""


@pytest.fixture
def plane():
    """A web server that says hello, in the place of the plane."""

    class Hello(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_script_runs_in_an_image(run_script, probe, plane, locked_in, settings, tmp_path):
    """With the image as its root and nothing else of the node, and all that a script may not do refused as well."""
    entry = f"vision=oci:{build_python_image(tmp_path / 'layout')}"
    settings.ENV = settings.ENV.model_copy(update={"script_environments": [entry], "plane_url": plane})
    locked_in.extras = [*locked_in.extras, "scripts:vision"]
    locked_in.save()
    code, options = probe
    job = run_script(code.replace("# more", IN_IMAGE), environment="vision", **options)
    assert find_reached(job) == {
        "plane": "hello",
        "localhost": "127.0.0.1",
        "not of the image": [],
        "python": "/opt/python/bin/python",
        "of image": ["yes", "/job/"],
        "rights": ["0000000000000000", "0000000000000000", "1"],
    }
    image = store.describe_image(job)["image"]
    assert (image["name"], store.get_images_root() / image["digest"].replace(":", "-")) == (
        "vision",
        next(path for path in store.get_images_root().iterdir() if path.is_dir()),
    )
    assert job.provenance.environment["image"] == Run.objects.get().environment["image"] == image
    missing = run_script("", environment="vision", command=["/no/such/program"], how={"max_attempts": 1})
    assert (missing.state, missing.error["code"]) == (JobState.FAILED, "command_not_found")
    limited = run_script(
        "import os\nb = bytearray(2**28); b[::4096] = b'x' * len(b[::4096])\nimport time; time.sleep(30)",
        environment="vision",
        how={"needs": Needs(memory_bytes=2**26, extra="scripts:vision"), "max_attempts": 1},
    )
    assert (limited.state, limited.error["code"]) == (JobState.FAILED, "memory_limit")


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
