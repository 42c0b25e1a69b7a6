from datetime import UTC, datetime

import pytest

from apps.ml.registry.evaluations.comparison import Verdict
from apps.ml.registry.models import ModelVersion

pytestmark = pytest.mark.django_db
URL = "/api/v1/projects/demo/models/wti-forecast/versions"


def test_the_versions_newest_first_with_their_aliases(api, viewer, registered, approved):
    approved(registered(note="first"))
    registered()
    items = api(viewer).get(URL).json()["items"]
    assert [(item["number"], item["aliases"]) for item in items] == [(2, []), (1, ["production"])]
    assert items[1]["note"] == "first"


def test_days_narrow_them(api, viewer, registered):
    ModelVersion.objects.filter(pk=registered().pk).update(created_at=datetime(2026, 3, 2, 12, tzinfo=UTC))
    registered()
    assert [item["number"] for item in api(viewer).get(URL, {"made_before": "2026-03-02"}).json()["items"]] == [1]
    assert [item["number"] for item in api(viewer).get(URL, {"made_after": "7d"}).json()["items"]] == [2]


def test_a_version_whole(api, viewer, registered):
    version = registered()
    found = api(viewer).get(f"{URL}/1").json()
    fp32, int8 = found["variants"]
    assert (found["digest"], found["run"], found["job"]) == (version.digest, version.run_id, version.job_id)
    assert found["features"] == ["lag 1", "lag 2"]
    assert found["trained_on"] == []
    assert (fp32["name"], fp32["parent"], int8["parent"]) == ("fp32", None, "fp32")
    assert int8["figures"]["latency"][0]["ratio"] == 1.5
    assert found == api(viewer).get(f"{URL}/{version.digest}").json()


def test_its_files_can_be_fetched_by_their_digests(api, viewer, registered):
    registered()
    client = api(viewer)
    found = client.get(f"{URL}/1").json()
    for variant in found["variants"]:
        for link in variant["links"].values():
            assert client.get(link).status_code == 200
    document = client.get(found["links"]["document"])
    assert b"plane/model-version/v1" in b"".join(document.streaming_content)


def test_an_unknown_version_is_refused(api, viewer, registered):
    registered()
    client, expected = api(viewer), {"9": 404, "f" * 64: 404, "one": 422, "0": 422}
    assert {which: client.get(f"{URL}/{which}").status_code for which in expected} == expected


def test_ask_for_its_promotion(api, engineer, approver, registered):
    registered()
    answer = api(engineer).post(f"{URL}/1/promote", {"comment": "please", "deadline_hours": 3}, format="json")
    told = answer.json()
    assert (answer.status_code, told["state"], told["comment"]) == (201, "pending", "please")
    assert told["facts"]["candidate"]["version"] == 1
    assert answer["Location"] == told["links"]["self"]
    assert told["links"]["subject"] == "/p/demo/models/wti-forecast/1"


def test_an_invalid_request_for_a_promotion_is_named(api, engineer, approver, registered):
    registered()
    client = api(engineer)
    for body, code in [
        ({"deadline_hours": 0}, "out_of_range"),
        ({"deadline_hours": "soon"}, "invalid"),
        ({"why": "x"}, "unknown_field"),
        ({"comment": "x" * 2001}, "max_length"),
    ]:
        answer = client.post(f"{URL}/1/promote", body, format="json")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code), body


def test_what_is_in_production_is_a_conflict(api, engineer, registered, approved):
    approved(registered())
    answer = api(engineer).post(f"{URL}/1/promote", {}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "already_in_production")


def test_compare_with_production(api, viewer, registered, approved, metric):
    approved(registered(metrics=[metric(2, 1.9, 2.1)]))
    registered(metrics=[metric(1, 0.9, 1.1)])
    found = api(viewer).get(f"{URL}/2/compare").json()
    assert (found["version"], found["other"]) == (2, 1)
    fp32 = found["variants"][0]
    assert (fp32["variant"], fp32["other_variant"], fp32["same_rows"]) == ("fp32", "fp32", True)
    rmse = fp32["metrics"][0]
    assert (rmse["difference"], rmse["verdict"]) == (-1, Verdict.BETTER)


def test_other_held_out_rows_make_nothing_better(api, viewer, registered, metric):
    registered(metrics=[metric(2, 1.9, 2.1)], heldout=b"some rows")
    registered(metrics=[metric(1, 0.9, 1.1)], heldout=b"others")
    found = api(viewer).get(f"{URL}/2/compare", {"with": "1"}).json()
    verdicts = {row["verdict"] for pair in found["variants"] for row in pair["metrics"]}
    assert verdicts == {Verdict.OTHER_ROWS}
    assert found["variants"][0]["same_rows"] is False


def test_nothing_to_compare_with(api, viewer, registered):
    registered()
    client, expected = api(viewer), {"production": 404, "9": 404, "x": 422}
    assert {other: client.get(f"{URL}/1/compare", {"with": other}).status_code for other in expected} == expected


def test_the_list_costs_the_same_queries_for_one_and_four(api, viewer, registered, django_assert_max_num_queries):
    client, counts = api(viewer), []
    for more in (1, 3):
        for _ in range(more):
            registered(names=("fp32",))
        client.get(URL)
        with django_assert_max_num_queries(12) as seen:
            assert len(client.get(URL).json()["items"]) == len(counts) * 3 + 1
        counts.append(len(seen))
    assert counts[0] == counts[1]
