"""The target of a compile job: offered in the form, refused by REST where it does not exist, its proof on the page."""

import re

import pytest

from apps.platform.jobs.models import Job, JobOutput
from apps.platform.jobs.specforms.spec_form import SpecForm

pytestmark = pytest.mark.django_db
PROVEN = {
    "ran": True,
    "emulated": True,
    "arch": "aarch64",
    "triple": "aarch64-linux-gnu",
    "tolerance": 1e-4,
    "largest_difference": 1.19e-7,
    "largest_relative_difference": 2e-7,
    "seeds": [{"seed": 4, "rows": 16, "max_abs_difference": 1.19e-7, "max_rel_difference": 2e-7}],
    "reason": "",
}
MISSING = {
    "reason": "The emulator qemu-aarch64 is not installed (on Debian: apt install qemu-user).",
    "reason_msgid": "The emulator {name} is not installed (on Debian: apt install qemu-user).",
    "reason_params": {"name": "qemu-aarch64"},
}
NOT_RUN = {**PROVEN, "ran": False, "emulated": False, "largest_difference": None, "seeds": [], **MISSING}


@pytest.fixture
def show(project, artifact, engineer, web):
    """show(document) -> the words on the page of a job that says this of its library."""

    def read(document, **headers):
        facts = {"spec": "{}", "spec_digest": "0" * 64, "queue": "cpu", "time_limit_seconds": 60, "grant": {}}
        job = Job.objects.create(project=project, kind="compile", state="succeeded", requester="x", **facts)
        row = {"slot": "verification", "artifact": artifact, "name": "verify.json", "media_type": "x/y"}
        JobOutput.objects.create(job=job, meta=document, **row)
        answer = web(engineer).get(f"/p/{project.slug}/jobs/{job.pk}", headers=headers)
        assert answer.status_code == 200
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))

    return read


def test_the_page_says_where_it_was_proven(show):
    text = show(PROVEN)
    assert "Proven on aarch64 under emulation" in text
    assert "1.2e-07 relative 2e-07, allowed 0.0001" in text
    assert "It says nothing about speed on the device." in text
    host = show({**PROVEN, "emulated": False, "triple": "x86_64-linux-gnu"})
    assert "Proven on the host" in host
    assert "speed on the device" not in host


def test_the_page_says_why_it_could_not_run(show):
    text = show(NOT_RUN)
    assert "Not run" in text
    assert MISSING["reason"] in text
    assert "未安装模拟器 qemu-aarch64" in show(NOT_RUN, **{"Accept-Language": "zh-hans"})


def test_a_document_that_is_none_costs_no_page(show):
    for document in ({}, {"ran": True}, {"ran": "x", "seeds": [1, {"seed": "<b>"}]}):
        assert ("against PyTorch" in show(document)) is bool(document)


def test_rest_refuses_a_triple_that_does_not_exist(api, engineer, url):
    answer = api(engineer).post(url(), {"kind": "compile", "spec": {"target": "mips-linux-gnu"}}, format="json")
    assert answer.status_code == 422
    (error,) = [error for error in answer.json()["error"]["errors"] if error["field"] == "/spec/target"]
    assert error["code"] == "spec_target_unknown"
    assert error["limit"] == "host, aarch64-linux-gnu, x86_64-linux-gnu"
    assert "mips-linux-gnu" in error["message"]
    assert not Job.objects.exists()


def test_the_form_offers_targets_and_takes_others():
    form = SpecForm("compile").bind({"/target": "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a53"})
    assert form.is_valid()
    (item,) = [item for item in form.items if item.pointer == "/target"]
    assert (item.control, item.suggestions[:2]) == ("text", ["host", "aarch64-linux-gnu"])
    wrong = SpecForm("compile").bind({"/target": "sparc"})
    assert not wrong.is_valid()
    assert "supported are host, aarch64-linux-gnu" in wrong.errors["/target"]
