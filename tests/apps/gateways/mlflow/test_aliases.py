"""registered-models/alias: set, moved, taken away; `production` only read."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.ml.registry.models import Alias, ModelVersion
from apps.platform.audit.models import AuditRecord, Result

ALIAS = "registered-models/alias"


@pytest.fixture
def two(logged, version_of):
    model = logged()
    return [version_of(model, "scorer"), version_of(model, "scorer")]


def test_set_moved_and_taken_away(track, two):
    for version in ("1", "2"):
        assert track.post(ALIAS, name="scorer", alias="Other_one-2", version=version) == {}
        told = track.get(ALIAS, name="scorer", alias="Other_one-2")["model_version"]
        assert (told["version"], told["aliases"]) == (version, ["Other_one-2"])
    assert track.get("registered-models/get", name="scorer")["registered_model"]["aliases"] == [
        {"alias": "Other_one-2", "version": "2"}
    ]
    for _ in range(2):
        assert track.delete(ALIAS, name="scorer", alias="Other_one-2") == {}
    assert not Alias.objects.exists()
    assert AuditRecord.objects.filter(action="model.remove_alias").count() == 1


def test_latest_is_the_newest(track, two):
    assert track.get(ALIAS, name="scorer", alias="latest")["model_version"]["version"] == "2"
    track.delete("model-versions/delete", name="scorer", version="2")
    assert track.get(ALIAS, name="scorer", alias="latest")["model_version"]["version"] == "1"


WRONG_ALIASES = [
    ("LATEST", "'latest' alias name (case insensitive) is reserved."),
    ("v1", "Version alias name 'v1' is reserved."),
    ("V12", "Version alias name 'V12' is reserved."),
    ("a.b", "Invalid alias name: 'a.b'. Names may only contain"),
    ("st\u0430ging", "Invalid alias name: "),
    ("\uff53taging", "Invalid alias name: "),
    ("\u3164", "Invalid alias name: "),
    ("sta\u200bging", "Invalid alias name: "),
    ("sta\u202eging", "Invalid alias name: "),
    ("", "Missing value for required parameter 'alias'."),
    ("a" * 256, "'Registered model alias name' exceeds the maximum length of 255 characters"),
]


def test_wrong_aliases_are_refused(track, two):
    cases = [({"name": "scorer", "alias": alias, "version": "1"}, text) for alias, text in WRONG_ALIASES]
    assert track.wrong_refusals("POST", ALIAS, cases) == {}


LOOK_ALIKES = [
    "\uff50roduction",  # a full-width p
    "\u0440roduction",  # a Cyrillic er
    "pr\u03bfduction",  # a Greek omicron
    "\u0440r\u043e\u0501\u03c5\u0441t\u0456\u043en",  # seven of ten letters
    "\U0001d429roduction",  # a mathematical bold p
    "pr0duction",
    "PRODUCTlON",  # a small l
    "productlon",
    "ProductIon",
]


def test_what_looks_like_production_is_refused(track, two):
    answers = {
        alias: track.refused("POST", ALIAS, {"name": "scorer", "alias": alias, "version": "1"})[:2]
        for alias in LOOK_ALIKES
    }
    assert answers == dict.fromkeys(LOOK_ALIKES, (403, "PERMISSION_DENIED"))
    assert AuditRecord.objects.filter(result=Result.REFUSED).count() == len(LOOK_ALIKES)


def test_what_looked_like_it_before_can_be_taken_away(track, two):
    version = ModelVersion.objects.get(model__name="scorer", number=1)
    Alias.objects.create(model=version.model, name=LOOK_ALIKES[1], version=version)
    assert track.delete(ALIAS, name="scorer", alias=LOOK_ALIKES[1]) == {}
    assert not Alias.objects.exists()


@pytest.mark.parametrize("alias", ["production", "Production"])
def test_production_moves_by_an_approval_alone(track, two, alias):
    for method in ("POST", "DELETE"):
        status, code, text = track.refused(method, ALIAS, {"name": "scorer", "alias": alias, "version": "1"})
        assert (status, code) == (403, "PERMISSION_DENIED")
        assert "Request a promotion" in text
    assert AuditRecord.objects.filter(result=Result.REFUSED).count() == 2


def test_what_is_not_there(track, two):
    body = {"name": "scorer", "alias": "champion"}
    assert track.refused("GET", ALIAS, body)[1:] == (
        "INVALID_PARAMETER_VALUE",
        "Registered model alias champion not found.",
    )
    assert track.refused("GET", ALIAS, body | {"name": "nothing"})[0] == 404
    assert track.refused("DELETE", ALIAS, body | {"name": "nothing"})[0] == 404
    for version, status in (("99", 404), ("x", 400), (1, 400)):
        assert track.refused("POST", ALIAS, body | {"version": version})[0] == status


def test_nobody_else_may(client_of, viewer, stranger, two):
    body = {"name": "scorer", "alias": "champion", "version": "1"}
    for method in ("POST", "DELETE"):
        assert client_of(viewer).refused(method, ALIAS, body)[0] == 403
        assert client_of(stranger).refused(method, ALIAS, body)[0] == 404
    assert client_of(viewer).get(ALIAS, name="scorer", alias="latest")["model_version"]["version"] == "2"


def test_of_a_deleted_version_there_is_none(track, two):
    track.post(ALIAS, name="scorer", alias="best", version="1")
    assert track.get(ALIAS, name="scorer", alias="best")["model_version"]["version"] == "1"
    ModelVersion.objects.filter(number=1).update(deleted_at=timezone.now())
    assert track.send("GET", ALIAS, {"name": "scorer", "alias": "best"}).status_code in (400, 404)
