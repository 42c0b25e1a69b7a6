"""A version that a client made of a folder: its pages, its REST, its promotion, without any variant."""

from __future__ import annotations

import json
import shlex
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.errors import Conflict, NotFound, Refused
from apps.ml.experiments.models import Experiment, LoggedModel, LoggedModelArtifact
from apps.ml.registry.models import Alias, Variant
from apps.ml.registry.presenters import format_loading_commands, format_serve_commands
from apps.ml.registry.promotion.facts import build_promotion_facts, summarize_client_files
from apps.ml.registry.services import (
    create_client_model,
    delete_version,
    describe_version,
    record_version,
    request_promotion,
    roll_back,
    set_stage,
    tag_version,
    untag_version,
)
from apps.ml.registry.views import TABS
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import approve
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import Damaged
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord

NAME = "Modèle 1.2 (α) %2F?#"
MLMODEL = b"flavors:\n  sklearn:\n    sklearn_version: 1.5.0\n  python_function: {python_version: 3.11.9}\n"


@pytest.fixture
def source(project, held):
    """source({path: bytes}) -> the id of a logged model with these files."""

    def make(files):
        experiment = Experiment.objects.get_or_create(
            project=project, number=0, defaults={"name": "Default", "created_by": "x"}
        )[0]
        model = LoggedModel.objects.create(project=project, experiment=experiment, name="net", created_by="engineer")
        for path, data in files.items():
            artifact = held(data)
            LoggedModelArtifact.objects.create(
                model=model, path=path, artifact=artifact, size=artifact.size, media_type="text/plain"
            )
        return model.pk

    return make


@pytest.fixture
def made(actor_for, engineer, project, source):
    """made({path: bytes}) -> the next version of the model NAME."""

    def make(files=None):
        key, who = source(files or {"MLmodel": MLMODEL, "data/w.bin": b"weights"}), actor_for(engineer)
        if not project.models.filter(name=NAME).exists():
            create_client_model(actor=who, project=project, name=NAME)
        source_uri = f"models:/{key}"
        return record_version(actor=who, project=project, name=NAME, source=source_uri, model_id=key)

    return make


@pytest.fixture
def promoted(actor_for, engineer, approver):
    def promote(version):
        asked = request_promotion(actor=actor_for(engineer), version=version, comment="please")
        proof, digest = Proof(user_id=approver.pk, method="password"), asked.facts_digest
        return approve(actor=actor_for(approver), approval=asked, facts_digest=digest, reason="good", proof=proof)

    return promote


def address(number, tab=""):
    return f"/p/demo/models/{quote(NAME, safe='')}/{number}" + (f"/{tab}" if tab else "")


def test_every_tab_renders_with_the_name_of_the_model(made, web, engineer):
    made(), made()
    client = web(engineer)
    answers = {tab: client.get(address(2, tab)) for tab in ("", *TABS[1:])}
    found = {tab: (one.status_code, NAME in one.content.decode()) for tab, one in answers.items()}
    assert found == dict.fromkeys(answers, (200, True))


def test_its_files_and_how_to_load_it(made, web, engineer):
    version = made()
    text = web(engineer).get(address(1)).content.decode()
    assert version.files.get(path="MLmodel").artifact_id in text
    assert "sklearn" in text
    assert "1.5.0" in text
    assert f"mlflow.pyfunc.load_model(&quot;models:/{NAME}/1&quot;)&#x27;" in text
    assert "No metric was measured here: a client uploaded the files." in text


INVALID_MLMODELS = [
    b"",
    b"- a list",
    b"flavors: [",
    b"a: &a [*a]",
    b"flavors: 5\nsignature: 7",
    b"\xff\xfe",
    b"a: !!timestamp x",
    b"a: !!int ''",
    b"a: !!bool x",
    b"mlflow_version: 0x" + b"f" * 5000,
]


def test_an_invalid_mlmodel_breaks_no_page(made, web, engineer):
    client = web(engineer)
    found = {told: client.get(address(made({"MLmodel": told}).number)).status_code for told in INVALID_MLMODELS}
    assert found == dict.fromkeys(INVALID_MLMODELS, 200)


def test_the_model_and_the_list_stand(made, web, engineer):
    made()
    client = web(engineer)
    here = f"/p/demo/models/{quote(NAME, safe='')}"
    for page in (here, f"{here}/history", f"{here}/audit", "/p/demo/models"):
        assert client.get(page).status_code == 200
    assert quote(NAME, safe="/~:@!$&'()*+,;=") in client.get("/p/demo/models").content.decode()


def test_rest_takes_the_name_too(made, api, engineer):
    version = made()
    url = f"/api/v1/projects/demo/models/{quote(NAME, safe='')}"
    assert api(engineer).get(url).json()["name"] == NAME
    told = api(engineer).get(f"{url}/versions/1").json()
    assert told["files"][0] == {"path": "MLmodel", "sha256": version.files.first().artifact_id, "size": len(MLMODEL)}
    assert (told["variants"], told["links"]["document"]) == ([], None)
    assert api(engineer).get(f"{url}/versions/1/compare?with=1").status_code == 200


def test_approved_it_is_production(made, promoted, approver, web):
    first, second = made(), made({"MLmodel": MLMODEL, "w": b"other"})
    promoted(first)
    promoted(second)
    assert Alias.objects.get(name="production").version == second
    page = web(approver).get(f"/p/demo/approvals/{Approval.objects.latest('pk').pk}")
    assert page.status_code == 200
    assert "data/w.bin" not in page.content.decode()
    assert "MLmodel" in page.content.decode()


def test_and_goes_back_to_the_one_before(made, promoted, actor_for, engineer):
    first, second = made(), made({"w": b"other"})
    promoted(first)
    promoted(second)
    roll_back(actor=actor_for(engineer), model=second.model, reason="worse")
    assert Alias.objects.get(name="production").version == first


def test_the_facts_are_those_of_its_bytes(made):
    version = made()
    facts = build_promotion_facts(version, deep=True)
    files = facts["candidate"]["files"]
    assert {path: told["intact"] for path, told in files.items()} == {"MLmodel": True, "data/w.bin": True}
    get_store().set_aside(files["data/w.bin"]["sha256"])
    assert build_promotion_facts(version, deep=True)["candidate"]["files"]["data/w.bin"] == {
        "size": 7,
        "sha256": "",
        "intact": False,
    }
    assert json.dumps(facts)


def test_bytes_that_are_gone_are_not_asked_for(made, actor_for, engineer, approver):
    version = made()
    get_store().set_aside(version.files.get(path="data/w.bin").artifact_id)
    with pytest.raises(Damaged):
        request_promotion(actor=actor_for(engineer), version=version)


def test_nor_is_what_has_no_files(made, actor_for, engineer, project, approver, web):
    made()
    who = actor_for(engineer)
    empty = record_version(actor=who, project=project, name=NAME, source="s3://bucket/x")
    with pytest.raises(Conflict) as caught:
        request_promotion(actor=who, version=empty)
    assert caught.value.code == "version_empty"
    assert "It has no files here" in web(engineer).get(address(2)).content.decode()


def test_bytes_written_over_void_the_approval(made, actor_for, engineer, approver):
    version = made()
    asked = request_promotion(actor=actor_for(engineer), version=version)
    get_store().set_aside(version.files.get(path="data/w.bin").artifact_id)
    proof, digest = Proof(user_id=approver.pk, method="password"), asked.facts_digest
    with pytest.raises(Conflict):
        approve(actor=actor_for(approver), approval=asked, facts_digest=digest, reason="good", proof=proof)
    assert not Alias.objects.exists()


def test_a_page_reads_as_much_for_three_files_as_for_many(made, web, engineer, django_assert_num_queries):
    made({f"{k}.bin": b"%d" % k for k in range(3)}), made({f"{k}.bin": b"%d" % k for k in range(12)})
    client = web(engineer)
    client.get(address(1)), client.get(address(2))
    with CaptureQueriesContext(connection) as few:
        client.get(address(1))
    with django_assert_num_queries(len(few)):
        assert "12 files" in client.get(address(2)).content.decode()


@pytest.mark.parametrize("lost", ["damaged", "gone"])
def test_the_page_names_what_is_spoilt(made, web, engineer, lost):
    version = made()
    row = version.files.get(path="data/w.bin")
    assert summarize_client_files(version) == {"count": 2, "size": len(MLMODEL) + len(b"weights"), "spoilt": []}
    if lost == "damaged":
        Artifact.objects.filter(pk=row.artifact_id).update(damaged_at=version.created_at)
    else:
        row.delete()
    assert summarize_client_files(version)["spoilt"] == ["data/w.bin"]
    assert "Files of data/w.bin are damaged" in web(engineer).get(address(1)).content.decode()


def test_commands_to_copy_quote_a_name_of_a_client(made):
    version = made()
    name = "a b; rm -rf $(HOME)"
    text = format_serve_commands(
        Variant(name="fp32", file="m.bin", artifact_id="a" * 64, manifest_id="b" * 64), name, "http://h"
    )
    words = shlex.split(text.replace("\\\n", ""))
    assert f"{name}-fp32/model.json" in words
    assert words[-3:] == ["deepseek", "serve", f"{name}-fp32"]
    assert f"models:/{version.model.name}/1" in shlex.split(format_loading_commands(version, "http://h"))


CHANGES = [
    (describe_version, {"description": "theirs"}),
    (tag_version, {"key": "a", "value": "b"}),
    (untag_version, {"key": "a"}),
    (set_stage, {"stage": "Staging", "archive_others": False}),
    (delete_version, {}),
]


@pytest.mark.parametrize(("who", "refusal"), [("viewer", Refused), ("approver", Refused), ("stranger", NotFound)])
def test_changes_of_a_version_require_an_engineer(made, actor_for, request, who, refusal):
    version, actor = made(), actor_for(request.getfixturevalue(who))
    for change, about in CHANGES:
        with pytest.raises(refusal):
            change(actor=actor, version=version, **about)
    version.refresh_from_db()
    assert (version.description, version.stage, version.deleted_at) == ("", "None", None)


def test_the_same_description_again_changes_nothing(made, actor_for, engineer):
    version, actor, found = made(), actor_for(engineer), []
    for text in ("theirs", "theirs", ""):
        assert describe_version(actor=actor, version=version, description=text).description == text
        version.refresh_from_db()
        found.append((AuditRecord.objects.filter(action="model.describe_version").count(), version.updated_at))
    assert [count for count, _at in found] == [1, 1, 2]
    assert found[0] == found[1]
