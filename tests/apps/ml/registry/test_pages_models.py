import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.ml.registry import views
from apps.ml.registry.models import Alias, Model
from apps.ml.registry.services import request_promotion
from apps.platform.approvals.models import Approval
from apps.platform.artifacts.models import Artifact
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db
TABS = ("", "/variants", "/compare", "/files", "/history", "/lineage", "/audit")
URL = "/p/demo/models"
LIMIT = 20  # queries of a page


def text_of(answer) -> str:
    return " ".join(answer.content.decode().split())


def queries_of(client, url) -> int:
    client.get(url)
    with CaptureQueriesContext(connection) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


def test_no_model_says_what_to_do_next(engineer, viewer, web):
    assert "registers it" in text_of(web(engineer).get(URL))
    assert "An engineer of this project" in text_of(web(viewer).get(URL))


def test_the_list_says_what_is_in_production(viewer, web, registered, approved, metric):
    approved(registered(metrics=[metric(1.25, 1.1, 1.4)]))
    registered(metrics=[metric(1.75, 1.6, 1.9)])
    text = text_of(web(viewer).get(URL))
    assert "1.25" in text
    assert "1.75" in text
    assert "No model matches" in text_of(web(viewer).get(URL, {"name": "zzz"}))


def test_the_reference_stands_beside_the_baseline(engineer, web, registered):
    registered()
    text = text_of(web(engineer).get(f"{URL}/wti-forecast/1"))
    assert 'data-reference="HistGradientBoosting"' in text
    assert "100 iterations on 50 of the 90 training rows" in text


def test_every_tab_of_a_model_and_of_its_versions(engineer, web, registered, approved, metric):
    """In production before, in production, and not yet: each tab in few queries, the last with the comparison."""
    approved(registered(names=("fp32",)))
    approved(registered(metrics=[metric(2, 1.9, 2.1)]))
    registered(names=("fp32", "int8", "tvm-x86_64"), metrics=[metric(1, 0.9, 1.1)])
    client = web(engineer)
    client.get(f"{URL}/wti-forecast")  # what every first request of a session reads
    versions = [f"/{number}{tab}" for number in (1, 2, 3) for tab in TABS]
    wrong = {}
    for page in ("", "/history", "/audit", *versions):
        with CaptureQueriesContext(connection) as seen:
            answer = client.get(f"{URL}/wti-forecast{page}")
        text = text_of(answer)
        compared = "v2 in production has <b>2</b>: <b>better</b>" in text or not page.startswith("/3")
        if (answer.status_code, len(seen) < LIMIT, compared) != (200, True, True):
            wrong[page] = (answer.status_code, len(seen), compared)
    assert wrong == {}


def test_other_rows_are_not_called_better(viewer, web, registered, approved, metric):
    approved(registered(metrics=[metric(2, 1.9, 2.1)], heldout=b"some"))
    registered(metrics=[metric(1, 0.9, 1.1)], heldout=b"others")
    text = text_of(web(viewer).get(f"{URL}/wti-forecast/2"))
    assert "<b>undecided which is better</b>" in text
    assert "Better" not in text[: text.index("Against the baseline")]


@pytest.mark.parametrize(("ratio", "words"), [(1.5, "1.50×</b> faster"), (0.5, "2.00×</b> slower")])
def test_what_is_slower_is_said_to_be_slower(ratio, words, viewer, web, registered):
    registered(ratio=ratio)
    text = text_of(web(viewer).get(f"{URL}/wti-forecast/1"))
    assert words in text
    assert "2.00×</b> smaller" in text


def test_a_damaged_variant_is_said_to_be(viewer, web, registered):
    version = registered()
    Artifact.objects.filter(pk=version.variants.first().artifact_id).update(damaged_at=version.created_at)
    assert "damaged" in text_of(web(viewer).get(f"{URL}/wti-forecast/1"))


def test_what_is_in_production_is_not_compared_with_itself(viewer, web, registered, approved):
    approved(registered())
    client = web(viewer)
    assert "There is no other version" in text_of(client.get(f"{URL}/wti-forecast/1/compare"))
    registered()
    assert "wti-forecast v1 and v2" in text_of(client.get(f"{URL}/wti-forecast/1/compare"))
    assert "wti-forecast v2 and v1" in text_of(client.get(f"{URL}/wti-forecast/2/compare"))


def test_an_older_version_than_are_offered_is_the_one_that_is_chosen(viewer, web, registered, monkeypatch):
    monkeypatch.setattr(views, "MAX_VERSION_CHOICES", 1)
    for _ in range(3):
        registered()
    text = text_of(web(viewer).get(f"{URL}/wti-forecast/3/compare?with=1"))
    assert "wti-forecast v3 and v1" in text
    assert '<option value="1" selected>v1</option>' in text


def test_the_commands_to_serve_it(viewer, web, registered):
    fp32 = registered().variants.get(name="fp32")
    text = web(viewer).get(f"{URL}/wti-forecast/1/files").content.decode()
    where = "http://testserver/api/v1/projects/demo/artifacts"
    assert f"-o wti-forecast-fp32/model.fp32 {where}/{fp32.artifact_id}" in text
    assert "deepseek serve wti-forecast-fp32" in text
    assert "deepseek serve wti-forecast-int8" in text
    assert "{&quot;features&quot;: [[0.0, 0.0]]}" in text


def test_ask_for_a_promotion(engineer, approver, web, registered):
    registered()
    client = web(engineer)
    answer = client.post(f"{URL}/wti-forecast/1/promote", {"comment": "please", "deadline_hours": "4"})
    approval = Approval.objects.get()
    assert answer.url == f"/p/demo/approvals/{approval.pk}"
    assert approval.comment == "please"
    assert "See the approval" in text_of(client.get(f"{URL}/wti-forecast/1"))
    again = client.post(f"{URL}/wti-forecast/1/promote", {}, follow=True)
    assert "note failed" in text_of(again)
    assert Approval.objects.count() == 1


def test_an_invalid_deadline_is_refused_and_the_form_keeps_its_values(engineer, approver, web, registered):
    registered()
    client = web(engineer)
    for hours in ("soon", "0", "99999"):
        answer = client.post(f"{URL}/wti-forecast/1/promote", {"deadline_hours": hours, "comment": "a long <why>"})
        text = text_of(answer)
        assert answer.status_code == 422, hours
        for part in ("note failed", "a long &lt;why&gt;</textarea>", f'value="{hours}"'):
            assert part in text, (hours, part)
    assert not Approval.objects.exists()


def test_set_an_alias(engineer, web, registered):
    registered()
    client = web(engineer)
    client.post(f"{URL}/wti-forecast/1/alias", {"alias": "staging"})
    assert Alias.objects.get().name == "staging"
    refused = client.post(f"{URL}/wti-forecast/1/alias", {"alias": "No", "reason": "typed once"})
    assert refused.status_code == 422
    for kept in ('value="No"', 'value="typed once"', 'id="alias-e"'):
        assert kept in text_of(refused)


def test_production_typed_as_an_alias_is_refused_at_the_field(engineer, web, registered):
    registered()
    answer = web(engineer).post(f"{URL}/wti-forecast/1/alias", {"alias": "production", "reason": "kept"})
    text = text_of(answer)
    assert (answer.status_code, Alias.objects.exists()) == (403, False)
    for kept in ('value="production"', 'value="kept"', "moves only by an approval.", 'id="alias-e"'):
        assert kept in text
    assert AuditRecord.objects.filter(action="model.set_alias", result="refused").count() == 1


def test_a_refused_rollback_keeps_the_reason(engineer, web, registered, approved, spoil):
    first = registered()
    approved(first)
    approved(registered())
    spoil(first.variants.first().artifact_id)
    answer = web(engineer).post(f"{URL}/wti-forecast/rollback", {"reason": "worse in <ward>"})
    text = text_of(answer)
    assert answer.status_code >= 400
    assert "worse in &lt;ward&gt;</textarea>" in text
    assert 'id="back" aria-labelledby="back-t" data-open' in text


def test_a_variant_without_figures_is_said_not_to_be_measured(viewer, web, registered, monkeypatch):
    shown = "apps.ml.registry.promotion.facts.build_figures"
    bare = {"rows": 4, "headline": "", "metrics": {}, "baseline": None, "size_ratio": None, "latency": {}}
    more = {"difference": {}, "max_abs_error": None, "same_class": {}, "notes": []}
    registered()
    monkeypatch.setattr(shown, lambda figures: bare | more)
    text = text_of(web(viewer).get(f"{URL}/wti-forecast/1"))
    assert "int8: not measured." in text


def test_what_the_others_were_timed_against_has_its_latency_too(viewer, web, registered, approved):
    approved(registered())
    registered()
    client = web(viewer)
    assert text_of(client.get(f"{URL}/wti-forecast/1")).count("measured beside int8") == 1
    text = text_of(client.get(f"{URL}/wti-forecast/2/variants"))
    assert text.count('<b>15 µs</b><br><span class="quiet">measured beside int8</span>') == 1
    assert '<td class="n base" data-l="v1">15 µs</td>' in text  # of the one in production


def test_roll_back(engineer, web, registered, approved):
    first, second = registered(), registered()
    approved(first)
    approved(second)
    client = web(engineer)
    assert "Roll back to v1" in text_of(client.get(f"{URL}/wti-forecast"))
    assert client.post(f"{URL}/wti-forecast/rollback", {"reason": " "}).status_code == 422
    client.post(f"{URL}/wti-forecast/rollback", {"reason": "worse"})
    assert Alias.objects.get().version == first
    text = text_of(client.get(f"{URL}/wti-forecast"))
    assert "Roll back to" not in text


def test_only_an_engineer_writes(viewer, stranger, sysadmin, web, registered):
    registered()
    found = {}
    for user in (viewer, stranger, sysadmin):
        client = web(user)
        for tail in ("1/promote", "1/alias", "rollback"):
            answer = client.post(f"{URL}/wti-forecast/{tail}", {"alias": "a", "reason": "x"})
            found.setdefault(user.username, set()).add(answer.status_code)
    assert found == {"viewer": {403}, "stranger": {404}, "sysadmin": {403}}
    assert not Alias.objects.exists()


def test_a_viewer_reads_and_has_no_button(viewer, web, registered, approved):
    approved(registered())
    approved(registered())
    registered()
    client = web(viewer)
    text = text_of(client.get(f"{URL}/wti-forecast/3")) + text_of(client.get(f"{URL}/wti-forecast"))
    for button in ("Request promotion", "Set an alias", "Roll back to"):
        assert button not in text


def test_by_key_to_the_address_for_people(engineer, stranger, web, registered):
    version = registered()
    variant = version.variants.get(name="int8")
    client = web(engineer)
    assert client.get(f"/p/demo/model-versions/{version.pk}").url == f"{URL}/wti-forecast/1"
    assert client.get(f"/p/demo/variants/{variant.pk}").url == f"{URL}/wti-forecast/1/variants"
    for path in (f"model-versions/{version.pk}", f"variants/{variant.pk}", f"variants/{2**70}"):
        assert web(stranger).get(f"/p/other/{path}").status_code == 404


def test_an_unknown_version_is_not_found(engineer, web, registered):
    registered()
    client = web(engineer)
    assert [client.get(f"{URL}/wti-forecast/{which}").status_code for which in ("9", "f" * 64)] == [404, 404]


def test_a_note_is_escaped(viewer, web, registered):
    registered(note="<script>alert(1)</script>")
    text = text_of(web(viewer).get(f"{URL}/wti-forecast/1"))
    assert "<script>alert" not in text


def test_the_list_costs_the_same_queries_for_one_and_four(viewer, web, registered, project):
    client = web(viewer)
    registered(name="m0", names=("fp32",))
    few = queries_of(client, URL)
    for number in range(1, 4):
        registered(name=f"m{number}", names=("fp32",))
    assert queries_of(client, URL) == few < LIMIT
    assert Model.objects.count() == 4


def test_compare_with_another_by_the_query(viewer, web, registered):
    for _ in range(3):
        registered()
    client = web(viewer)
    assert "v3 and v1" in text_of(client.get(f"{URL}/wti-forecast/3/compare", {"with": "1"}))
    assert "v3 and v2" in text_of(client.get(f"{URL}/wti-forecast/3/compare"))
    assert "no version 9" in text_of(client.get(f"{URL}/wti-forecast/3/compare", {"with": "9"}))


def test_a_pending_request_of_another_version_does_not_show(engineer, approver, actor_for, web, registered):
    first, _ = registered(), registered()
    request_promotion(actor=actor_for(engineer), version=first)
    assert "Request promotion" in text_of(web(engineer).get(f"{URL}/wti-forecast/2"))


def test_production_is_found_among_very_many_aliases(viewer, web, registered, approved):
    version = registered()
    approved(version)
    Alias.objects.bulk_create(Alias(model=version.model, name=f"a{n}", version=version) for n in range(120))
    assert "<b>In production.</b>" in text_of(web(viewer).get(f"{URL}/wti-forecast/1"))


def test_it_says_whether_it_may_go_out(viewer, approver, web, registered, approved, metric):
    approved(registered(metrics=[metric(2, 1.9, 2.1)]))
    registered(metrics=[metric(1, 0.9, 1.1)])
    text = text_of(web(viewer).get(f"{URL}/wti-forecast/2"))
    assert "Promotion checks" in text
    assert "rmse: Better: the intervals do not meet" in text
    assert "Needs 1 approval within 72 h; 1 could approve; the requester cannot." in text


def test_without_an_approver_it_may_not(viewer, web, registered):
    registered()
    text = text_of(web(viewer).get(f"{URL}/wti-forecast/1"))
    assert "Not ready: Needs 1 approval within 72 h, and only 0 could approve" in text


def test_the_history_of_a_version_names_requests_and_moves(viewer, engineer, web, registered, approved, actor_for):
    approval = approved(registered())
    approved(registered())
    text = text_of(web(viewer).get(f"{URL}/wti-forecast/1/history"))
    assert f'href="/p/demo/approvals/{approval.pk}"' in text
    assert text.index("production went to v2") < text.index("production moved here")
    registered(name="other")
    assert "No promotion of this version was requested" in text_of(web(viewer).get(f"{URL}/other/1/history"))


def test_the_recipe_and_the_way_to_run_it_again(engineer, viewer, web, registered):
    version = registered()
    trainer = version.variants.order_by("pk").first().job_id
    text = text_of(web(engineer).get(f"{URL}/wti-forecast/1"))
    assert "<dt>task</dt><dd><code>forecast</code></dd>" in text
    assert f"/jobs/new/train?from={trainer}" in text
    assert "/jobs/new/train" not in text_of(web(viewer).get(f"{URL}/wti-forecast/1"))


def test_gauges_of_one_measure_share_their_scale(viewer, web, registered, approved, metric):
    approved(registered(metrics=[metric(2, 1.9, 2.1)]))
    registered(metrics=[metric(1, 0.9, 1.1)])
    text = text_of(web(viewer).get(f"{URL}/wti-forecast/2/variants"))
    assert text.count('class="gauge') == 3
