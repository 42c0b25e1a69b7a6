"""The form of a script: its code is uploaded as a zip file, or named as a version of a repository."""

from __future__ import annotations

import io
import re
import zipfile
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.registration import add_version
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell
from apps.platform.nodes.extras import SCRIPTS
from apps.platform.nodes.models import Node

URL = "/p/demo/jobs/new/script"


@pytest.fixture(autouse=True)
def _silent(monkeypatch, db):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)
    Node.objects.create(name="n", host="n", queues=["cpu"], cpus=4, memory_bytes=2**33, extras=[SCRIPTS])


def build_zip(name="code.zip") -> SimpleUploadedFile:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("train.py", "print(1)")
    return SimpleUploadedFile(name, packed.getvalue(), content_type="application/zip")


def test_uploaded_code_is_chosen_and_queued(engineer, web):
    browser = web(engineer)
    answer = browser.post(URL, {"op": "upload", "file": build_zip()})
    artifact = Artifact.objects.get()
    assert (answer.status_code, parse_qs(urlsplit(answer.url).query)) == (302, {"code": [artifact.digest]})
    assert f'<option value="{artifact.digest}" selected>' in browser.get(answer.url).content.decode()
    fields = {"op": "submit", "inputs/code": artifact.digest, "/command": "python\ntrain.py"}
    answer = browser.post(URL, fields)
    assert answer.status_code == 302, re.findall(r'class="err"[^>]*>.*?</p>', answer.content.decode(), re.S)
    job = Job.objects.get()
    assert answer.url == f"/p/demo/jobs/{job.pk}"
    assert job.inputs.get().artifact_id == artifact.digest


def test_what_is_no_zip_file_is_refused_beside_the_field(engineer, web):
    wrong = {}
    for name, file in {"none": "", "text": SimpleUploadedFile("a.zip", b"text")}.items():
        answer = web(engineer).post(URL, {"op": "upload", "file": file})
        if answer.status_code != 422 or 'aria-invalid="true"' not in answer.content.decode():
            wrong[name] = answer.status_code
    assert wrong == {}
    assert not Holding.objects.exists()


def test_code_of_a_repository_becomes_inputs(engineer, web, held, worker_actor, project):
    files = {"train.py": held(b"print(1)"), "package/net.py": held(b"import torch")}
    dataset = create_dataset(actor=worker_actor, project=project, name="wti-daily")
    rows = [(path, artifact, "text/x-python") for path, artifact in files.items()]
    add_version(
        actor=worker_actor, dataset=dataset, files=rows, media_type="", rows=None, columns=[], script="test", params={}
    )
    fields = {"op": "submit", "/code": "wti-daily:v1", "/command": "python\ntrain.py"}
    answer = web(engineer).post(URL, fields)
    assert answer.status_code == 302, answer.content.decode()[:3000]
    inputs = dict(Job.objects.get().inputs.values_list("slot", "artifact_id"))
    assert inputs == {f"code/{path}": artifact.digest for path, artifact in files.items()}


def test_neither_of_the_two_is_an_error(engineer, web):
    answer = web(engineer).post(URL, {"op": "submit", "/command": "python\ntrain.py"})
    assert answer.status_code == 422
    assert "finputs-code-e" in answer.content.decode()
    assert not Job.objects.exists()


def test_approver_gets_no_form(approver, web):
    assert web(approver).get(URL).status_code == 403
    assert web(approver).post(URL, {"op": "upload", "file": build_zip()}).status_code == 403
    assert not Holding.objects.exists()
