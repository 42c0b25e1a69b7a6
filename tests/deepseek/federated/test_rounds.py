"""The rounds of a study: what is aggregated, who may miss one, what is refused, and how it ends."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from deepseek.federated import board as boards
from deepseek.federated.board import parse_reason
from deepseek.federated.code import compute_study_code_digest
from deepseek.federated.errors import FederationError
from deepseek.federated.inspection import RoundTerms, parse_evaluation, parse_rows
from deepseek.federated.ledger import read_ledger
from deepseek.federated.ledger_verifier import encode_signed_part
from deepseek.federated.network import initialize_weights
from deepseek.federated.site import write_outputs
from deepseek.federated.state import read_outcome, write_outcome
from deepseek.federated.transport import build_unreachable_error
from deepseek.federated.wire import compute_digest, decode_message, encode_message, encode_weights
from deepseek.signing.documents import encode_base64
from deepseek.signing.keys import encode_public_key
from tests.deepseek.federated.federation import Federation


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch):
    monkeypatch.setattr(boards, "POLL_SECONDS", 0.01)


@pytest.fixture
def federate(build_study, tmp_path):
    """federate(limits, **changes of the study) -> a Federation of three sites."""

    def build(limits=None, sites=("north", "south", "west"), **changes):
        study = build_study(**({"rounds": 3, "code_digest": compute_study_code_digest()} | changes))
        return Federation(study, tmp_path, sites, **(limits or {}))

    return build


def start_all(federation, **options):
    return [federation.start_site(site, **options) for site in federation.signers]


def test_sites_train_one_model_and_measure_it(federate):
    federation = federate(learning_rate=1.0)
    start_all(federation)
    weights = federation.run()
    assert federation.errors == {}
    assert [len(each["sites"]) for each in federation.state.history] == [3, 3, 3]
    assert not np.allclose(weights["0.weight"], initialize_weights(federation.study)["0.weight"])
    for site, status in federation.board.get_sites().items():
        assert status.evaluation["federated"]["value"] > 0.9
        kinds = [entry.kind for entry in read_ledger((federation.folder / site / "ledger.jsonl").read_bytes())]
        assert kinds == ["join", "update", "update", "update", "evaluation"]


def test_the_same_updates_come_to_the_same_weights(federate, tmp_path):
    first = federate()
    start_all(first)
    again = Federation(first.study, tmp_path / "again")
    start_all(again)
    assert encode_weights(first.run(), {}) == encode_weights(again.run(), {})


def poison(scale):
    """A tamper that signs other weights: what a site does that is not ours."""

    def change(federation, site):
        part = federation.parts[site]

        def tamper(topic, payload):
            if topic != "update":
                return payload
            header, body = decode_message(payload, max_bytes=10**6)
            from safetensors.numpy import load

            from deepseek.federated.inspection import read_payload_metadata
            from deepseek.federated.ledger_verifier import encode_signed_part
            from deepseek.federated.wire import compute_digest
            from deepseek.signing.documents import encode_base64

            weights = scale({name: value.copy() for name, value in load(body).items()})
            body = encode_weights(weights, read_payload_metadata(body))
            entry = header["entry"] | {"digest": compute_digest(body), "bytes": len(body)}
            signature = federation.signers[site].sign(encode_signed_part(entry))
            return encode_message({"entry": entry | {"signature": encode_base64(signature)}}, body)

        part.connection.tamper = tamper

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda weights: {name: value * np.nan for name, value in weights.items()}, "update_not_finite"),
        (lambda weights: {name: value + 1e4 for name, value in weights.items()}, "update_poisoned"),
        (lambda weights: {"other": np.zeros(3, np.float32)}, "update_foreign"),
        (lambda weights: {name: value.astype(np.float64) for name, value in weights.items()}, "update_foreign"),
    ],
)
def test_a_bad_update_is_refused_and_the_others_go_on(federate, change, code):
    federation = federate(rounds=1)
    for site in ("north", "south"):
        federation.start_site(site)
    start = federation.build_part
    federation.build_part = lambda site, **options: (start(site, **options), poison(change)(federation, site))[0]
    federation.start_site("west")
    weights = federation.run()
    assert federation.state.history[0]["sites"] == ["north", "south"]
    assert federation.state.history[0]["refused"] == [{"site": "west", "code": code}]
    assert np.isfinite(weights["0.weight"]).all()


def test_a_trimmed_mean_bounds_a_poisoned_site(federate, tmp_path):
    """The poisoned update is within the allowed norm; a mean follows it, a trimmed mean does not."""
    moved = {}
    for aggregation, trim in (("mean", 0.0), ("trimmed_mean", 0.26)):
        sites = ("north", "south", "west", "east")
        federation = federate(None, sites, rounds=1, aggregation=aggregation, trim=trim, minimum_sites=4)
        federation.folder = tmp_path / aggregation
        for site in sites[:3]:
            federation.start_site(site)
        start = federation.build_part
        wreck = poison(lambda weights: {name: value + 20 for name, value in weights.items()})
        federation.build_part = lambda site, s=start, f=federation, w=wreck: (s(site), w(f, site))[0]
        federation.start_site("east")
        moved[aggregation] = float(np.abs(federation.run(evaluate=False)["0.weight"]).max())
    assert moved["mean"] > 4 > 2 > moved["trimmed_mean"]


def replay(board, connection, site):
    """What the board says to the first update of the site, sent once more."""
    payload = next(payload for topic, payload in connection.sent if topic == "update")
    return decode_message(board.submit(site, payload), max_bytes=10**6)[0]


def test_what_is_replayed_unsigned_or_of_a_stranger_is_refused(federate):
    federation = federate()
    start_all(federation)
    federation.run()
    board, connection = federation.board, federation.connections["north"]
    assert replay(board, connection, "north")["code"] == "update_replayed"
    assert replay(board, connection, "south")["code"] == "message_unsigned"
    for garbage in (b"", b"\xff" * 100, encode_message({}), encode_message({"entry": {"study": 1}}, b"x")):
        assert decode_message(board.submit("north", garbage), max_bytes=100)[0]["code"] == "message_malformed"
        assert decode_message(board.join("north", garbage), max_bytes=100)[0]["status"] == "refused"
    assert decode_message(board.join("nobody", b""), max_bytes=100)[0]["code"] == "site_unknown"


def sign(federation, site, payload, **changes):
    """An update of `payload` with its signed ledger entry, as a site that is not ours may send it."""
    entry = {
        "study": federation.board.digest,
        "site": site,
        "round": 1,
        "kind": "update",
        "digest": compute_digest(payload),
        "bytes": len(payload),
        "norm": 1.0,
        "max_abs": 1.0,
        "epsilon": None,
        "reason": "",
        "created_at": "2026-01-01T00:00:00.000000Z",
        "previous": "0" * 64,
        "public_key": encode_public_key(federation.signers[site].public_key),
    } | changes
    signature = encode_base64(federation.signers[site].sign(encode_signed_part(entry)))
    return encode_message({"entry": entry | {"signature": signature}}, payload)


def test_no_bad_update_is_aggregated(federate):
    """Each is signed by its site, and the site's own engine would not have sent it."""
    federation = federate(rounds=2, privacy={"epsilon": 4.0})
    board, weights = federation.board, federation.state.weights
    content = encode_weights(weights, {})
    digest = compute_digest(content)
    good = {"study": board.digest, "site": "west", "round": "1", "base": digest}
    nan = {name: value * np.nan for name, value in weights.items()}
    far = {name: value + 1e4 for name, value in weights.items()}
    wide = {name: np.zeros((*value.shape, 2), np.float32) for name, value in weights.items()}
    cases = {
        "NaN": (nan, {}, {"epsilon": 1.0}, "update_not_finite"),
        "poisoned": (far, {}, {"epsilon": 1.0}, "update_poisoned"),
        "another shape": (wide, {}, {"epsilon": 1.0}, "update_foreign"),
        "fewer weights": (dict([*weights.items()][:1]), {}, {"epsilon": 1.0}, "update_foreign"),
        "other weights": (weights, {"base": "0" * 64}, {"epsilon": 1.0}, "update_replayed"),
        "a later round": (weights, {"round": "2"}, {"epsilon": 1.0, "round": 2}, "update_replayed"),
        "another round inside": (weights, {"round": "2"}, {"epsilon": 1.0}, "update_replayed"),
        "of another site": (weights, {"site": "north"}, {"epsilon": 1.0}, "update_replayed"),
        "another study": (weights, {}, {"epsilon": 1.0, "study": "0" * 64}, "study_mismatch"),
        "no epsilon": (weights, {}, {}, "update_not_private"),
        "over the budget": (weights, {}, {"epsilon": 4.1}, "update_not_private"),
        "epsilon below 0": (weights, {}, {"epsilon": -1.0}, "update_not_private"),
        "other bytes": (weights, {}, {"epsilon": 1.0, "digest": "0" * 64}, "message_unsigned"),
    }
    board.get_sites()["west"].joined = True
    wrong = {}
    for name, (values, metadata, entry, code) in cases.items():
        board.open_round(RoundTerms(federation.study, board.digest, 1, weights, digest), content)
        payload = encode_weights(values, good | metadata)
        header = decode_message(board.submit("west", sign(federation, "west", payload, **entry)), max_bytes=10**6)[0]
        if header.get("code") != code:
            wrong[name] = header
    assert (wrong, board.get_sites()["west"].updates) == ({}, 0)
    board.open_round(RoundTerms(federation.study, board.digest, 1, weights, digest), content)
    accepted = sign(federation, "west", encode_weights(weights, good), epsilon=1.0)
    assert decode_message(board.submit("west", accepted), max_bytes=10**6)[0]["status"] == "accepted"


@pytest.mark.parametrize("rows", [None, "0", "-5", "1e9", "99999999999999999999", "\u0663"])
def test_a_site_cannot_claim_any_weight(rows):
    with pytest.raises(FederationError):
        parse_rows(rows)


def test_figures_of_a_site_hold_nothing_else():
    auc = {"value": 0.5, "low": None, "high": None, "positives": 1, "negatives": 1}
    assert parse_evaluation(json.dumps({"federated": auc, "local": None}).encode())["local"] is None
    for wrong in (b"[]", b"{}", json.dumps({"federated": auc | {"name": "x"}, "local": None}).encode(), b"\xff"):
        with pytest.raises(FederationError):
            parse_evaluation(wrong)


def test_why_a_site_leaves_is_a_code_or_nothing():
    given = ("privacy_budget_spent", "\ud800", "two words", "x" * 99, 5, None)
    assert [parse_reason({"reason": reason}) for reason in given] == ["privacy_budget_spent", *["left"] * 5]


def test_a_site_that_is_away_misses_a_round_and_comes_back(federate):
    federation = federate(rounds=4)  # who is not connected is not waited for
    start_all(federation)
    connection = federation.connections["west"]
    connection.tamper = lambda topic, payload: (_ for _ in ()).throw(ConnectionError) if topic == "update" else payload
    thread = None
    save = federation.board.take_refusals

    def come_back(round):
        nonlocal thread
        if round == 2 and thread is None:
            thread = federation.start_site("west")
            federation.board.await_sites(seconds=10, all_seconds=10)
        return save(round)

    federation.board.take_refusals = come_back
    federation.run()
    assert isinstance(federation.errors["west"], ConnectionError)
    took_part = [each["sites"] for each in federation.state.history]
    assert took_part[0] == ["north", "south"]
    assert took_part[-1] == ["north", "south", "west"]


def test_a_site_that_comes_late_takes_part_from_the_round_that_is_open(federate, monkeypatch):
    federation = federate(rounds=3)
    for site in ("north", "south"):
        federation.start_site(site)
    board, started = federation.board, []
    await_all, take = board.await_sites, board.take_refusals
    monkeypatch.setattr(board, "await_sites", lambda **_: await_all(seconds=20, all_seconds=0.0))

    def start_late(round):
        if not started:
            started.append(federation.start_site("west"))
            await_all(seconds=20, all_seconds=20)
        return take(round)

    monkeypatch.setattr(board, "take_refusals", start_late)
    federation.run()
    assert federation.errors == {}
    both, all_three = ["north", "south"], ["north", "south", "west"]
    assert [each["sites"] for each in federation.state.history] == [both, all_three, all_three]


def test_a_slow_site_is_not_waited_for_and_its_late_update_does_not_count(federate):
    federation = federate({"round_seconds": 0.5, "join_seconds": 120}, rounds=3)
    start_all(federation)

    def be_slow(topic, payload):
        while topic == "update" and federation.state.round < 1:
            time.sleep(0.01)
        federation.board.spec = federation.board.spec.model_copy(update={"round_seconds": 60})
        return payload

    federation.connections["west"].tamper = be_slow
    federation.run()
    first, *_, last = federation.state.history
    assert (first["sites"], first["missing"]) == (["north", "south"], ["west"])
    assert last["sites"] == ["north", "south", "west"]
    refusals = federation.board.get_sites()["west"].refusals
    assert [refusal["code"] for refusal in refusals] == ["update_replayed"]
    assert federation.errors == {}


def test_too_few_sites_end_the_study(federate):
    federation = federate({"join_seconds": 0.2})
    federation.start_site("north")
    with pytest.raises(FederationError) as caught:
        federation.board.await_sites(seconds=0.5, all_seconds=0.1)
    assert caught.value.code == "too_few_sites"
    federation.board.await_evaluations(0)
    federation.wait()


def test_a_server_that_goes_on_gets_the_same_update_again(federate):
    """Killed after the updates came and before the round was kept: each site sends what is in its ledger already."""
    federation = federate(rounds=1)
    start_all(federation)
    weights = federation.run(evaluate=False)
    again = federation.start_again()
    start_all(again, rows=70)  # other rows now: what was sent is sent again, not trained again
    assert encode_weights(again.run(), {}) == encode_weights(weights, {})
    assert [entry.kind for entry in again.parts["north"].ledger.entries].count("update") == 1


def test_a_server_that_asks_again_from_other_weights_gets_nothing(federate):
    federation = federate(rounds=1)
    start_all(federation)
    federation.run()
    again = federation.start_again()
    again.state.weights = {name: value + 1 for name, value in again.state.weights.items()}
    start_all(again)
    with pytest.raises(FederationError) as caught:  # at once, and not after the time of a round
        again.run()
    assert caught.value.code == "round_repeated"
    again.board.await_evaluations(0)
    again.wait()
    kinds = [(entry.kind, entry.reason) for entry in again.parts["north"].ledger.entries]
    assert kinds.count(("refused", "round_repeated")) == kinds.count(("skip", "")) == 1
    assert [kind for kind, _ in kinds].count("update") == 1


@pytest.mark.parametrize(("lost", "updates"), [("poll", 1), ("update", 2)])
def test_a_server_that_lost_its_last_round_loses_no_site(federate, lost, updates):
    """A site was away in round 1, or its update did not arrive, and it took part in round 2; then the server is started
    again from before round 1."""
    federation = federate(rounds=2)
    start_all(federation)
    miss = federation.connections["west"]

    def lose(topic, payload):
        if topic == lost and federation.board._terms:
            raise ConnectionError
        return payload

    miss.tamper = lose
    save = federation.board.take_refusals

    def come_back(round):
        if round == 1:
            federation.start_site("west")
            federation.board.await_sites(seconds=10, all_seconds=10)
        return save(round)

    federation.board.take_refusals = come_back
    weights = federation.run(evaluate=False)
    assert [each["sites"] for each in federation.state.history] == [["north", "south"], ["north", "south", "west"]]
    again = federation.start_again()
    start_all(again)
    assert encode_weights(again.run(), {}) == encode_weights(weights, {})
    assert (again.errors, [each["sites"] for each in again.state.history]) == (
        {},
        [["north", "south"], ["north", "south", "west"]],
    )
    kinds = [entry.kind for entry in again.parts["west"].ledger.entries]
    assert (kinds.count("update"), kinds.count("skip")) == (updates, 1)


def test_a_server_that_is_killed_before_its_result_is_published_keeps_the_figures(federate):
    federation = federate(rounds=1)
    start_all(federation)
    federation.run()
    write_outcome(federation.folder, "owner", {"sites": federation.board.get_outcome()})
    again = federation.start_again()
    again.board.restore_outcome(read_outcome(federation.folder, "owner")["sites"])
    again.board.await_sites(seconds=20, all_seconds=20)  # for no one: the sites have ended
    for site, status in again.board.get_sites().items():
        assert status.evaluation == federation.board.get_sites()[site].evaluation is not None
    assert read_outcome(federation.folder, "another study's") == {}


def test_a_site_that_is_killed_before_its_job_has_ended_needs_no_server_any_more(federate, tmp_path):
    federation = federate(rounds=1)
    start_all(federation)
    federation.run()
    figures = federation.parts["north"].evaluation

    def be_away(topic, payload):
        raise build_unreachable_error(60, "")

    again = federation.build_part("north", tamper=be_away)
    with pytest.raises(FederationError, match="has not answered"):  # for all that it knows
        again.take_part()
    again.restore_outcome()
    again.take_part()
    slots = [output.slot for output in write_outputs(again, tmp_path / "out").outputs]
    assert (slots, again.evaluation) == (["ledger", "model", "evaluation"], figures)
    again.ledger.close()
