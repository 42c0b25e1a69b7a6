"""What would be affected by a version, as a table, over REST and as CSV: down to what is in production."""

import csv
import io
import re

import pytest
from django.utils import timezone

from apps.ml.registry.impact.queries import find_affected
from apps.ml.registry.models import Alias, AliasMove, Model, ModelVersion
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges

pytestmark = [pytest.mark.django_db, pytest.mark.services]
URL = "/api/v1/projects/demo/lineage/affected"
PAGE = "/p/demo/lineage/dataset_version/1/affected"


@pytest.fixture
def model_version(project):
    model = Model.objects.create(project=project, name="wti", created_by="x", versions_count=1)
    return ModelVersion.objects.create(
        model=model, number=1, digest="d" * 64, document="{}", task="regression", target="y", created_by="x"
    )


@pytest.fixture
def chain(worker_actor, project, model_version):
    """dataset version 1 -> job 1 -> artifact a -> model version; and job 1 -> dataset version 2."""
    ends = [End("dataset_version", "1", label="wti v1"), End("job", "1", label="#1 train")]
    file = End("artifact", "a" * 64, "a" * 64, "model.pt")
    made = End("model_version", str(model_version.pk), "d" * 64, "wti v1")
    edges = [(ends[0], ends[1]), (ends[1], file), (file, made), (ends[1], End("dataset_version", "2", label="x v2"))]
    record_edges(
        actor=worker_actor, project=project, edges=[EdgeSpec.between(one, other, "table") for one, other in edges]
    )


@pytest.fixture
def live(project, model_version):
    facts = {"facts": "{}", "facts_digest": "0" * 64, "needed": 1, "eligible": 1, "deadline_at": timezone.now()}
    approval = Approval.objects.create(project=project, subject_type="promotion", subject_id="1", title="t", **facts)
    where = {"model": model_version.model, "alias": "production", "to_version": model_version}
    AliasMove.objects.create(kind="promote", approval=approval, by="x", **where)
    return Alias.objects.create(model=model_version.model, name="production", version=model_version)


def told(api, who, **query):
    return api(who).get(URL, {"type": "dataset_version", "id": "1"} | query)


def test_everything_downstream_with_its_distance(api, viewer, chain):
    items = told(api, viewer).json()["items"]
    assert [(one["type"], one["label"], one["hops"]) for one in items] == [
        ("job", "#1 train", 1),
        ("artifact", "model.pt", 2),
        ("dataset_version", "x v2", 2),
        ("model_version", "wti v1", 3),
    ]
    assert not any(one["in_production"] for one in items)


def test_production_is_told(api, viewer, chain, live):
    items = told(api, viewer, production="1").json()["items"]
    assert [one["type"] for one in items if one["type"] != "model_version"] == ["alias"]
    assert [one["label"] for one in items if one["type"] == "alias"] == ["wti production"]


def test_one_type_and_pages(api, viewer, chain):
    assert [one["type"] for one in told(api, viewer, kind="artifact").json()["items"]] == ["artifact"]
    first = told(api, viewer, limit="3").json()
    second = told(api, viewer, limit="3", cursor=first["next"]).json()
    assert [len(first["items"]), len(second["items"]), second["next"]] == [3, 1, None]


@pytest.mark.parametrize(("query", "field"), [({"type": "x"}, "type"), ({"id": "a b"}, "id"), ({"kind": "x"}, "kind")])
def test_nonsense_is_named(api, viewer, project, query, field):
    answer = told(api, viewer, **query)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_another_project_sees_nothing(api, web, stranger, project):
    assert told(api, stranger).status_code == 404
    assert web(stranger).get(PAGE).status_code == 404


def test_the_page_its_filters_and_its_file(web, viewer, chain, live):
    client = web(viewer)
    text = client.get(PAGE).content.decode()
    assert all(word in text for word in ("#1 train", "model.pt", "wti production", "In production", "in production"))
    assert "#1 train" not in client.get(f"{PAGE}?kind=artifact").content.decode()
    assert client.get(f"{PAGE}?kind=tree").status_code == 422
    assert client.get("/p/demo/lineage/tree/1/affected").status_code == 404
    assert "Nothing depends on it yet" in client.get("/p/demo/lineage/job/99/affected").content.decode()
    answer = client.get(f"{PAGE}?format=csv&sort=-hops")
    rows = list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert rows[1][0] == "wti production"
    assert len(rows) == 6


def test_the_page_shows_the_nearest_until_all_is_asked_for(web, viewer, chain, live, monkeypatch):
    monkeypatch.setattr("apps.ml.registry.impact.lists.MAX_NEAREST_EDGES", 1)
    client = web(viewer)
    text = client.get(PAGE).content.decode()
    assert "The nearest 1 " in text
    assert "more depend on it" in text
    assert "None of those shown is in production." in text
    assert "wti production" not in text
    for query in ("reach=all", "production=1", "sort=-hops", "sort=name"):
        text = client.get(f"{PAGE}?{query}").content.decode()
        assert "wti production" in text, query
        assert "more depend on it" not in text, query
    answer = client.get(f"{PAGE}?format=csv")
    assert b"wti production" in b"".join(answer.streaming_content)


@pytest.mark.parametrize("length", [3, 30])
def test_no_number_of_objects_costs_more_queries(
    api, viewer, worker_actor, project, length, django_assert_max_num_queries
):
    ends = [End("job", str(n), label=f"job {n}") for n in range(1, length + 2)]
    pairs = [EdgeSpec.between(End("dataset_version", "1"), one, "table") for one in ends]
    record_edges(actor=worker_actor, project=project, edges=pairs)
    client = api(viewer)
    with django_assert_max_num_queries(8):
        assert len(client.get(URL, {"type": "dataset_version", "id": "1", "limit": "200"}).json()["items"]) >= length


def test_a_version_in_production_counts_itself_and_its_alias(web, viewer, model_version, live):
    """Nothing was made of it: what runs in production is the version itself."""
    answer = web(viewer).get(f"/p/demo/lineage/model_version/{model_version.pk}/affected")
    impact = answer.context["impact"]
    assert (impact.root_in_production, impact.in_production) == (True, 0)
    assert [(one.label, one.hops, one.in_production) for one in impact.objects] == [("wti production", 1, True)]
    assert "It is in production itself." in answer.content.decode()
    assert "Nothing in production" not in answer.content.decode()


def test_a_version_without_production_says_so_and_has_no_blank_button(web, viewer, model_version):
    answer = web(viewer).get(f"/p/demo/lineage/model_version/{model_version.pk}/affected")
    assert (answer.context["impact"].root_in_production, answer.context["impact"].objects) == (False, [])
    assert "Nothing in production depends on it." in answer.content.decode()
    assert re.findall(r"<a class=\"btn[^>]*>\s*</a>", answer.content.decode()) == []


def test_a_version_of_another_project_lends_no_alias(actor_for, viewer, project, model_version, live):
    other = Project.objects.create(slug="other", name="Other")
    Model.objects.filter(pk=model_version.model_id).update(project=other)
    impact = find_affected(actor_for(viewer), project, "model_version", str(model_version.pk))
    assert (impact.root_in_production, impact.objects) == (False, [])
