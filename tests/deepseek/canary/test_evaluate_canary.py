"""The three verdicts, and what each says of its evidence."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from scipy import stats

from deepseek.job import EngineError
from tests.deepseek.canary.fleets import (
    DAY,
    FAILURE,
    INSTALL,
    LATENCY,
    build_devices,
    build_evidence,
    build_plan,
    evaluate,
    list_codes,
)

RANDOM = np.random.default_rng(11)
CANARY, CONTROL = RANDOM.normal(50, 5, 40), RANDOM.normal(50, 5, 360)


def find_test(verdict, gate, kind):
    tests = next(each["tests"] for each in verdict["gates"] if each["name"] == gate)
    return next(each for each in tests if each["test"] == kind)


def run_looks(plan, shift, counts=(10, 20, 30, 40)):
    """The verdicts of looks at so many canaries, until one decides."""
    verdicts, history = [], None
    for look, count in enumerate(counts):
        devices = build_devices(CANARY[:count] + shift, CONTROL[: 9 * count])
        verdicts.append(evaluate(plan, devices, look, history=history))
        history = verdicts[-1]["history"]
        if verdicts[-1]["verdict"] != "hold":
            break
    return verdicts


def test_a_good_version_goes_on():
    last = run_looks(build_plan(), 0.0)[-1]
    assert (last["verdict"], list_codes(last)) == ("go_on", [("shown", None)])
    gate = last["gates"][0]
    assert gate["low"] < gate["harm"] < gate["high"] < gate["margin"]


def test_a_bad_version_is_rolled_back_early():
    last = run_looks(build_plan(), 10.0)[-1]
    assert (last["verdict"], list_codes(last)) == ("roll_back", [("harm", "latency_ms")])
    assert last["gates"][0]["low"] > 0
    assert find_test(last, "latency_ms", "harm")["looks"][-1]["fraction"] < 1


def test_an_undecidable_version_is_held_and_says_what_is_missing():
    plan = build_plan({**LATENCY, "margin": 0.5})
    last = run_looks(plan, 0.0)[-1]
    assert last["verdict"] == "hold"
    reason = last["reasons"][0]
    assert (reason["code"], reason["gate"], reason["margin"]) == ("undecided", "latency_ms", 0.5)
    assert reason["canary_needed"] > 400
    assert reason["power_at_maximum"] < 0.2
    assert reason["detectable_at_maximum"] > 0.5


def test_harm_that_was_shown_stays_shown():
    plan = build_plan()
    first = run_looks(plan, 10.0)[-1]
    better = build_devices(CANARY - 5, CONTROL)
    later = evaluate(plan, better, 9, history=first["history"])
    assert later["verdict"] == "roll_back"


def test_what_decided_is_a_document_that_a_page_can_draw():
    verdict = run_looks(build_plan(), 10.0)[-1]
    assert json.loads(json.dumps(verdict, allow_nan=False)) == verdict
    looks = find_test(verdict, "latency_ms", "harm")["looks"]
    assert [each["fraction"] for each in looks] == sorted({each["fraction"] for each in looks})
    assert looks[-1]["z"] >= looks[-1]["boundary"]
    assert looks[-1]["spent"] <= 0.01
    assert {each["stratum"] for each in verdict["gates"][0]["strata"]} == {"a", "b"}


def test_the_order_of_devices_changes_nothing():
    devices = build_devices(CANARY, CONTROL)
    mixed = random.Random(5).sample(devices, len(devices))
    assert evaluate(build_plan(LATENCY, FAILURE), devices) == evaluate(build_plan(LATENCY, FAILURE), mixed)


def test_higher_may_be_better():
    gate = {"name": "accuracy", "better": "higher", "tests": ["harm", "non_inferiority"], "margin": 5.0}
    verdict = evaluate(build_plan(gate), build_devices(CANARY - 10, CONTROL, figure="accuracy"))
    assert verdict["verdict"] == "roll_back"
    shown = verdict["gates"][0]
    assert shown["canary"]["value"] < shown["control"]["value"]
    assert shown["harm"] == pytest.approx(10, abs=2)


def test_each_arm_has_an_interval():
    """SciPy's own, where there is one stratum."""
    devices = build_devices(CANARY, CONTROL, strata=lambda number: "a")
    arm = evaluate(build_plan(), devices)["gates"][0]["canary"]
    expected = stats.ttest_1samp(list(CANARY), 0).confidence_interval(0.95)
    assert (arm["low"], arm["high"]) == pytest.approx((expected.low, expected.high))
    higher = {**LATENCY, "better": "higher"}
    again = evaluate(build_plan(higher), devices)["gates"][0]["canary"]
    assert (again["low"], again["high"]) == pytest.approx((arm["low"], arm["high"]))
    healthy = {"name": "healthy", "scale": "binary", "better": "higher"}
    shares = build_devices([1] * 37 + [0] * 3, [1] * 90, figure="healthy")
    share = evaluate(build_plan(healthy), shares)["gates"][0]["canary"]
    exact = stats.binomtest(37, 40).proportion_ci(0.95)
    assert (share["low"], share["high"]) == pytest.approx((exact.low, exact.high))


def test_a_tolerated_difference_is_no_harm():
    devices = build_devices(CANARY + 4, CONTROL)
    assert evaluate(build_plan(), devices)["verdict"] == "roll_back"
    assert evaluate(build_plan({**LATENCY, "tolerance": 4.0}), devices)["verdict"] != "roll_back"


@pytest.mark.parametrize(
    ("devices", "code"),
    [
        ([], [("no_canary", None), ("no_control", None)]),
        (build_devices(CANARY), [("no_control", None)]),
        (build_devices([], CONTROL), [("no_canary", None)]),
        (build_devices(CANARY, CONTROL, installed=False), [("no_canary", None)]),
        (build_devices(CANARY[:9], CONTROL[:81]), [("min_sample", "latency_ms")]),
        (build_devices([None] * 40, CONTROL), [("min_sample", "latency_ms")]),
    ],
    ids=["nothing", "no control", "no canary", "none installed", "nine canaries", "no figures"],
)
def test_too_little_is_held(devices, code):
    verdict = evaluate(build_plan(), devices)
    assert (verdict["verdict"], list_codes(verdict)) == ("hold", code)


def test_too_little_at_the_end_may_be_rolled_back_by_the_plan():
    devices = build_devices(CANARY[:9], CONTROL[:81])
    plan = build_plan(shortage="roll_back")
    assert evaluate(plan, devices)["verdict"] == "hold"
    last = evaluate(plan, devices, final=True)
    assert (last["verdict"], list_codes(last)) == ("roll_back", [("min_sample", "latency_ms")])
    assert evaluate(build_plan(), devices, final=True)["verdict"] == "hold"


def test_a_wave_soaks_first():
    devices = build_devices(CANARY, CONTROL)
    for device in devices[:10]:
        device["observed_seconds"] = DAY / 2
    verdict = evaluate(build_plan(), devices)
    assert (verdict["verdict"], list_codes(verdict)) == ("hold", [("soaking", None)])
    assert (verdict["reasons"][0]["have"], verdict["reasons"][0]["need"]) == (30, 40)
    assert evaluate(build_plan(soak_share=0.75), devices)["verdict"] == "go_on"


def test_harm_is_seen_while_the_wave_soaks():
    devices = build_devices(CANARY + 20, CONTROL, observed_seconds=DAY / 4)
    verdict = evaluate(build_plan(), devices)
    assert verdict["verdict"] == "roll_back"
    assert 0.25 < find_test(verdict, "latency_ms", "harm")["looks"][0]["fraction"] < 0.3


def test_silence_after_the_installation_is_a_failure_at_its_deadline():
    plan = build_plan(FAILURE)
    quiet = build_devices(CANARY, CONTROL, observed_seconds=DAY / 2, silent_seconds=3_599)
    assert evaluate(plan, quiet)["devices"]["canary"] | {"all": 0} == {
        "all": 0, "missing": 0, "failed": 0, "silent": 0, "soaking": 40, "soaked": 0,
    }  # fmt: skip
    silent = build_devices(CANARY, CONTROL, observed_seconds=DAY / 2, silent_seconds=3_600)
    verdict = evaluate(plan, silent)
    assert (verdict["verdict"], list_codes(verdict)) == ("roll_back", [("harm", "failure")])
    assert verdict["devices"]["listed"]["silent"][:2] == ["canary-0000", "canary-0001"]
    assert evaluate(build_plan({**FAILURE, "measure": "silence"}), silent)["verdict"] == "roll_back"


def test_failed_installations_decide_below_the_minimum_sample():
    devices = build_devices([None] * 4, CONTROL, failed=True, installed=False)
    verdict = evaluate(build_plan(INSTALL), devices)
    assert (verdict["verdict"], list_codes(verdict)) == ("roll_back", [("harm", "install")])
    assert verdict["devices"]["listed"]["failed"] == [f"canary-{number:04}" for number in range(4)]


def test_one_failure_of_ten_is_no_harm():
    devices = build_devices(CANARY[:10], CONTROL[:90])
    devices[0]["failed"] = True
    assert evaluate(build_plan(FAILURE), devices, final=True)["verdict"] == "go_on"


def test_no_harm_counts_once_the_planned_sample_was_there():
    """A gate that only looks for harm proves nothing by an early look that finds none."""
    plan = build_plan({"name": "latency_ms"})
    early = evaluate(plan, build_devices(CANARY[:10], CONTROL[:90]))
    assert (early["verdict"], list_codes(early)) == ("hold", [("unfinished", "latency_ms")])
    assert early["reasons"][0]["have"] == 0.25
    assert evaluate(plan, build_devices(CANARY, CONTROL))["verdict"] == "go_on"


def test_seven_of_ten_a_hundred_times_worse_are_rolled_back():
    """spinnaker#6278: a test of ranks passed this."""
    values = [1.0, 1.1, 0.9, *(100 + RANDOM.normal(0, 5, 7))]
    verdict = evaluate(build_plan({"name": "latency_ms"}), build_devices(values, RANDOM.normal(1, 0.1, 90)))
    assert verdict["verdict"] == "roll_back"


def test_equal_values_show_no_margin_and_a_constant_difference_is_harm():
    same = evaluate(build_plan(), build_devices([7.1] * 40, [7.1] * 360))
    assert (same["verdict"], list_codes(same)) == ("hold", [("no_variance", "latency_ms")])
    assert evaluate(build_plan(), build_devices([8] * 40, [7] * 360))["verdict"] == "roll_back"
    assert evaluate(build_plan({"name": "latency_ms"}), build_devices([7] * 40, [7] * 360))["verdict"] == "go_on"


def test_a_stratum_without_control_is_named_and_holds_the_wave():
    devices = build_devices(CANARY, CONTROL)
    for device in devices[:10]:
        device["stratum"] = "arm64"
    verdict = evaluate(build_plan(), devices)
    assert (verdict["verdict"], list_codes(verdict)) == ("hold", [("stratum_without_control", None)])
    assert verdict["devices"]["strata_without_control"] == {"arm64": 10}
    assert evaluate(build_plan(max_uncovered_share=0.25), devices)["verdict"] == "go_on"


def test_few_observations_leave_a_device_out():
    devices = build_devices(CANARY, CONTROL)
    verdict = evaluate(build_plan({**LATENCY, "min_observations": 11}), devices)
    assert list_codes(verdict) == [("min_sample", "latency_ms"), ("min_sample", "latency_ms")]


def test_what_four_canaries_can_show_of_rare_failures():
    show = evaluate(build_plan(), build_devices(CANARY[:4], CONTROL))["can_show"]
    assert (show["devices"], show["failures"]) == (4, 0)
    assert show["failure_rate_high"] == pytest.approx(1 - 0.05**0.25)
    assert show["rate_seen_once"] == pytest.approx(1 - 0.1**0.25)


def test_gates_share_the_error_by_holm():
    gates = [{"name": "latency_ms"}, FAILURE, {"name": "heat"}]
    devices = build_devices(CANARY + 10, CONTROL)
    for number, device in enumerate(devices):
        device["values"]["heat"] = {"mean": float(number % 7)}
    verdict = evaluate(build_plan(*gates), devices)
    alphas = [each["tests"][0]["alpha"] for each in verdict["gates"]]
    assert alphas == pytest.approx([0.01 / 3, 0.01 / 2, 0.01 / 2]), "what falls leaves its part to the rest"


def test_the_same_look_again_is_the_same_verdict():
    plan, devices = build_plan(), build_devices(CANARY[:20], CONTROL[:180])
    first = evaluate(plan, devices)
    assert evaluate(plan, devices, history=first["history"]) == first


def test_the_same_look_of_an_e_process_again_is_the_same_verdict():
    plan = build_plan({**FAILURE, "margin": 0.1}, maximum=None)
    history = None
    for look, failed in enumerate((2, 3, 5)):
        devices = build_devices(CANARY, CONTROL)
        for device in devices[:failed]:
            device["failed"] = True
        verdict = evaluate(plan, devices, look, history=history)
        assert evaluate(plan, devices, look, history=verdict["history"]) == verdict
        history = verdict["history"]
    assert ["log_likelihoods" in each for each in history["looks"]] == [False, True, True]


def test_nothing_new_is_no_look_and_the_last_one_spends_what_is_left():
    plan, devices = build_plan(), build_devices(CANARY[:20], CONTROL[:180])
    first = evaluate(plan, devices)
    again = evaluate(plan, devices, 1, history=first["history"])
    assert again["history"] == first["history"]
    last = evaluate(plan, devices, 2, final=True, history=again["history"])
    looks = find_test(last, "latency_ms", "harm")["looks"]
    assert [each["spent"] for each in looks] == [0.01]
    assert find_test(last, "latency_ms", "harm")["complete"]


def test_after_the_last_look_nothing_counts():
    plan = build_plan({**LATENCY, "margin": 0.5})
    last = run_looks(plan, 0.0)[-1]
    later = evaluate(plan, build_devices(CANARY + 30, CONTROL), 9, history=last["history"])
    assert later["history"] == last["history"]
    assert list_codes(later) == [("undecided", "latency_ms")]


def test_looks_of_another_plan_are_refused():
    history = evaluate(build_plan(), build_devices(CANARY, CONTROL))["history"]
    with pytest.raises(EngineError) as error:
        evaluate(build_plan({**LATENCY, "margin": 50.0}), build_devices(CANARY, CONTROL), 1, history=history)
    assert (error.value.code, error.value.field) == ("plan_changed", "/history/plan_digest")


def test_older_evidence_than_the_last_look_is_refused():
    plan, devices = build_plan(), build_devices(CANARY, CONTROL)
    history = evaluate(plan, devices, 3)["history"]
    with pytest.raises(EngineError) as error:
        evaluate(plan, devices, 2, history=history)
    assert (error.value.code, error.value.field) == ("look_out_of_order", "/at")


def test_a_binary_figure_is_0_or_1():
    gate = {"name": "healthy", "scale": "binary", "better": "higher"}
    devices = build_devices([1] * 39 + [0.5], [1] * 360, figure="healthy")
    with pytest.raises(EngineError) as error:
        evaluate(build_plan(gate), devices)
    assert error.value.field == "/devices/canary-0039/values/healthy/mean"
    devices[39]["values"]["healthy"]["mean"] = 0
    verdict = evaluate(build_plan(gate), devices)
    canary = verdict["gates"][0]["canary"]
    assert (canary["devices"], canary["value"], canary["events"]) == (40, 39 / 40, 1)


def test_without_a_maximum_the_evidence_is_valid_at_any_time():
    gates = [LATENCY, {**FAILURE, "margin": 0.1}, INSTALL]
    plan = build_plan(*gates, maximum=None)
    good = evaluate(plan, build_devices(CANARY, CONTROL))
    assert good["mode"] == "e_process"
    assert find_test(good, "latency_ms", "non_inferiority")["shown"]
    assert good["gates"][0]["high"] < 5
    bad = evaluate(plan, build_devices(CANARY + 10, CONTROL, failed=True), 1, history=good["history"])
    assert list_codes(bad) == [("harm", "latency_ms"), ("harm", "failure"), ("harm", "install")]
    better = evaluate(plan, build_devices(CANARY, CONTROL), 2, history=bad["history"])
    assert better["verdict"] == "roll_back", "an e-process keeps its greatest value"
    looks = find_test(better, "failure", "harm")["looks"]
    assert [each["log_e"] for each in looks] == sorted(each["log_e"] for each in looks)


def test_evidence_that_is_read_back_is_the_same():
    """History goes through JSON between two looks."""
    plan, devices = build_plan(LATENCY, {**FAILURE, "margin": 0.1}, maximum=None), build_devices(CANARY, CONTROL)
    history = json.loads(json.dumps(evaluate(plan, devices)["history"]))
    evidence = build_evidence(devices, 1, history=history)
    assert [look.gate for look in evidence.history.looks] == ["latency_ms", "latency_ms", "failure"]
