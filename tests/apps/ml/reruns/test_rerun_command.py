"""manage.py rerun: what it prints, and how it ends."""

from __future__ import annotations

import json

import pytest
from django.core.management import call_command

from apps.ml.reruns.management.commands import rerun as module
from apps.ml.reruns.models import Rerun
from apps.platform.accounts.models import Membership

pytestmark = pytest.mark.django_db
WEIGHTS = {"model/model.safetensors": b"weights"}


@pytest.fixture
def command(capsys):
    """command(*arguments) -> (exit code, stdout, stderr)."""

    def run(*arguments):
        code = 0
        try:
            call_command("rerun", *arguments)
        except SystemExit as end:
            code = end.code
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def works(monkeypatch, end):
    """works(**of the run that the job makes): it ends while the command waits."""

    def do(**made):
        monkeypatch.setattr(module.time, "sleep", lambda _seconds: end(Rerun.objects.get().job, **made))

    return do


def test_it_queues_and_names_the_rerun(command, original):
    code, out, err = command(original.pk)
    rerun = Rerun.objects.get()
    assert (code, out.strip(), rerun.requester) == (0, str(rerun.pk), "engineer")
    assert f"job {rerun.job_id} is queued" in err


def test_identical_ends_with_0(command, original, works):
    works(loss=[3, 2, 1], outputs=WEIGHTS)
    code, out, _ = command(original.pk, "--wait")
    assert (code, out.startswith("identical: ")) == (0, True)


def test_different_ends_with_1_and_names_the_input(command, original, works):
    works(loss=[3, 2, 9], environment={"python": "3.12"}, outputs=WEIGHTS)
    code, out, _ = command(original.pk, "--wait")
    assert code == 1
    assert "differs: Python: 3.11.2 -> 3.12" in out
    assert "loss: different, relative 0.888" in out


def test_the_tolerance_counts(command, original, works):
    works(loss=[3, 2, 1.05], outputs=WEIGHTS)
    assert command(original.pk, "--wait", "--relative", "0.1")[0] == 0


def test_no_verdict_ends_with_1(command, original, works):
    works(state="failed")
    code, out, _ = command(original.pk, "--wait")
    assert (code, out.strip()) == (1, "no verdict: It broke.")


def test_json(command, original, works):
    works(loss=[3, 2, 1], outputs=WEIGHTS)
    assert json.loads(command(original.pk, "--wait", "--json")[1])["verdict"] == "identical"


def test_bad_input_exits_with_2(command, original, viewer):
    for arguments, message in (
        (["nonsense"], "There is no run 'nonsense'"),
        (["0" * 32], "There is no run"),
        ([original.pk, "--relative", "7"], "is not in 0 to 1"),
        ([original.pk, "--actor", "nobody"], "There is no user 'nobody'"),
        ([original.pk, "--actor", "viewer"], "may not do run.rerun"),
    ):
        code, _, err = command(*arguments)
        assert (code, message in err, Rerun.objects.count()) == (2, True, 0), arguments


def test_a_person_whose_token_is_over_still_stands_for_the_run(command, original):
    original.job.grant["token"] = 12345
    original.job.save()
    assert (command(original.pk)[0], Rerun.objects.get().requester) == (0, "engineer")


def test_whoever_asked_may_not_act_any_more(command, original, engineer):
    Membership.objects.filter(user=engineer).delete()
    code, _, err = command(original.pk)
    assert (code, "[authority_gone]" in err) == (2, True)


def test_a_run_from_outside(command, original):
    type(original).objects.filter(pk=original.pk).update(job=None, kind="")
    code, _, err = command(original.pk)
    assert (code, "[recorded_outside]" in err) == (2, True)
