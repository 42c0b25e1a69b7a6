"""The recovery key is replaced on the plane's host, and a repository with an unreadable snapshot is still listed."""

from __future__ import annotations

import json
import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.platform.audit.models import AuditRecord
from apps.site.snapshots.models import Snapshot

pytestmark = pytest.mark.django_db
KEY = re.compile(r"DSRK1-[A-Z2-7-]+")


@pytest.fixture
def folder(tmp_path, settings):
    folder = tmp_path / "repository"
    folder.mkdir()
    settings.PLANE_HOME = tmp_path / "home"
    settings.ENV = settings.ENV.model_copy(update={"snapshot_destinations": [f"main={folder.as_uri()}"]})
    return folder


def run(*words):
    """Output, errors and exit status of `plane snapshot WORDS`."""
    out, err, status = StringIO(), StringIO(), 0
    try:
        call_command("snapshot", *map(str, words), stdout=out, stderr=err)
    except SystemExit as end:
        status = end.code
    except CommandError as failure:
        status = failure.returncode
        err.write(str(failure))
    return out.getvalue(), err.getvalue(), status


def write_key(path, text):
    path.write_text(text)
    return ["--recovery-key-file", path]


def test_recovery_key_is_replaced_and_the_former_opens_nothing(folder, tmp_path):
    first = KEY.search(run("prepare")[0])[0]
    printed, _errors, status = run("replace-recovery-key")
    second = KEY.search(printed)[0]
    assert (status, first == second) == (0, False)
    former, current = write_key(tmp_path / "former", first), write_key(tmp_path / "current", second)
    assert run("list", *current)[2] == 0
    for word in "list", "replace-recovery-key":
        _out, errors, status = run(word, *former)
        assert (status, "snapshot_key_wrong" in errors) == (2, True)
    third = KEY.search(run("replace-recovery-key", *current)[0])[0]
    assert run("list", *current)[2] == 2
    assert run("list", *write_key(tmp_path / "third", third))[2] == 0
    assert run("list")[2] == 0, "the plane's own key opens it as before"
    records = AuditRecord.objects.filter(action="snapshot.replace_recovery_key")
    assert records.count() == 2
    bodies = " ".join(map(str, records.values_list("body", flat=True)))
    assert not any(key in bodies for key in (first, second, third))


class ClosedPipe(StringIO):
    def write(self, text):
        raise BrokenPipeError


def test_recovery_key_that_could_not_be_printed_replaces_nothing(folder, tmp_path):
    former = write_key(tmp_path / "former", KEY.search(run("prepare")[0])[0])
    with pytest.raises(BrokenPipeError):
        call_command("snapshot", "replace-recovery-key", stdout=ClosedPipe())
    assert run("list", *former)[2] == 0


def test_recovery_key_without_repository_or_destination_is_refused(folder):
    for words, status in {("replace-recovery-key",): 2, ("replace-recovery-key", "--destination", "moon"): 2}.items():
        out, errors, code = run(*words)
        assert (code, KEY.search(out + errors)) == (status, None)


def test_unreadable_snapshot_is_listed_and_known_by_its_name(folder, sysadmin):
    run("prepare")
    (folder / "snapshots").mkdir()
    name = "f" * 32
    (folder / "snapshots" / name).write_bytes(b"garbage")
    assert json.loads(run("list", "--json")[0])[0]["state"] == "unreadable"
    out, _errors, status = run("remove", name)
    assert (status, "Removed" in out) == (0, True)
    assert (Snapshot.objects.get().state, list((folder / "snapshots").iterdir())) == ("removed", [])
