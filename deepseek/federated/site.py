"""Take part in a study with the rows of one site: the entry point of the site's job."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.federated.code import compute_study_code_digest
from deepseek.federated.credentials import LEDGER_KEY, check_home
from deepseek.federated.errors import FederationError
from deepseek.federated.features import SiteData, read_site_data
from deepseek.federated.ledger import EgressLedger
from deepseek.federated.ledger_verifier import encode_canonical
from deepseek.federated.metrics import measure_weights
from deepseek.federated.network import Weights, initialize_weights, measure_change
from deepseek.federated.privacy import NoisePlan, plan_noise
from deepseek.federated.self_test import run_self_test
from deepseek.federated.server import (
    FEDERATION_TYPE,
    MODEL_NAME,
    MODEL_TYPE,
    RESUME_SECONDS,
    get_home,
    require_code,
)
from deepseek.federated.spec import EntryKind, FederationSiteSpec, LedgerEntry, compute_study_digest
from deepseek.federated.state import (
    FINAL_MODEL,
    SiteState,
    UpdateRecord,
    build_state_error,
    read_outcome,
    read_update,
    replace_file,
    write_outcome,
)
from deepseek.federated.training import train_round
from deepseek.federated.tunnel import open_way_out
from deepseek.federated.wire import compute_digest, decode_message, decode_weights, encode_message, encode_weights
from deepseek.job import JSON, Output, Report, Result, stage_outputs
from deepseek.messages import N_
from deepseek.signing.keys import load_private_key

if TYPE_CHECKING:
    from deepseek.federated.transport import SiteConnection

TABLE, LEDGER_NAME, EVALUATION_NAME = "table", "ledger.jsonl", "evaluation.json"
LEDGER_TYPE = "application/jsonl"
MAX_PAUSE_SECONDS = 5.0
SPENT, REPEATED = "privacy_budget_spent", "round_repeated"
CUT_OFF = ("server_unreachable", "proxy_refused")


@dataclass
class Participation:
    """One site's part in one study, from its first message to its last."""

    spec: FederationSiteSpec
    home: Path
    data: SiteData
    plan: NoisePlan | None
    ledger: EgressLedger
    state: SiteState
    connection: SiteConnection
    report: Report
    expected: Weights
    weights: Weights | None = None
    evaluation: dict[str, Any] | None = None
    stopped: str = ""
    is_delivered: bool = False  # the figures, or the word that none leave
    skipped: set[int] = field(default_factory=set)

    def take_part(self) -> None:
        """Do what the server asks for until the study is done, or the site's budget is spent."""
        try:
            self.join()
            self.follow_server()
        except FederationError as error:
            # The figures are with the server, so the study is done, and its server gone before it could say so.
            if error.code not in CUT_OFF or not self.is_delivered:
                raise

    def follow_server(self) -> None:
        while True:
            header, body = self.exchange("poll", b"")
            status = header.get("status")
            if status == "train":
                self.train(header, body)
            elif status == "evaluate":
                self.evaluate(header, body)
            elif status == "join":
                self.join()
            elif status == "done":
                return
            else:
                time.sleep(min(MAX_PAUSE_SECONDS, max(0.01, parse_seconds(header.get("seconds")))))
            if self.stopped:
                return

    def join(self) -> None:
        payload = encode_canonical({"code": compute_study_code_digest(), "site": self.spec.site})
        header = self.send("join", "join", 0, payload)
        if header.get("status") != "accepted":
            raise build_refused_error(header)

    def train(self, header: Mapping[str, Any], body: bytes) -> None:
        """One round: train, and send the update once it is in the ledger. What was made before a kill is sent again."""
        round, weights = self.open_weights(header, body)
        base = str(header.get("digest"))
        record = self.state.find_update(round)
        if record.left_out or record.base != base if record else round <= self.state.round:
            self.skip(round)
            return
        try:
            if record is None:
                self.state.mark_left_out(header.get("counted"))
                record = self.make_update(round, base, weights)
            content = read_update(self.home, record)
            fields = {"norm": record.norm, "max_abs": record.max_abs, "epsilon": record.epsilon}
            reply = self.send("update", "update", round, content, **fields)
        except FederationError as error:
            self.leave(round, error)
            if error.code != SPENT:
                raise
            self.report.log(str(error), level="warning")
            return
        if reply.get("status") == "refused":
            self.report.log(f"round {round}: the server refused the update: {reply.get('reason')}", level="warning")
        self.report.metric("norm", record.norm, round)
        if record.epsilon is not None:
            self.report.metric("epsilon", record.epsilon, round)
        self.report.progress(round, self.spec.study.rounds, "rounds", stage="train")

    def skip(self, round: int) -> None:
        """Take no part in a round that this site has trained in already from other weights, or that ended without it:
        the server was started again from an older state. Another update would say more of the same rows."""
        if round in self.skipped:
            time.sleep(MAX_PAUSE_SECONDS)  # a server that does not take it for an answer
        self.skipped.add(round)
        if not any((entry.kind, entry.round) == ("refused", round) for entry in self.ledger.entries):
            self.ledger.record_refusal(b"", round=round, reason=REPEATED, epsilon=self.state.epsilon)
        self.report.log(
            f"round {round}: the server asks for it again, so this site takes no part in it", level="warning"
        )
        self.send("skip", "skip", round, encode_canonical({"reason": REPEATED}))

    def make_update(self, round: int, base: str, weights: Weights) -> UpdateRecord:
        """Train from the global weights, and make the update and what it has spent durable."""
        study, history = self.spec.study, self.state.history
        outcome = train_round(study, self.data.training, weights, round=round, plan=self.plan, history=history)
        norm, max_abs = measure_change(outcome.weights, weights)
        metadata = {"study": self.ledger.study, "site": self.spec.site, "round": str(round), "base": base}
        if self.plan is None:
            metadata["rows"] = str(len(self.data.training))
        content = encode_weights(outcome.weights, metadata)
        require_finite(norm)
        record = UpdateRecord(round, base, compute_digest(content), norm, max_abs, outcome.epsilon)
        self.state.add(self.home, record, content, outcome.history)
        return record

    def evaluate(self, header: Mapping[str, Any], body: bytes) -> None:
        """Measure the global model on the held-out rows, beside one that is trained on this site's rows alone.

        With a privacy budget the latter is not made: no noise protects it, and its figures would leave.
        """
        round, self.weights = self.open_weights(header, body)
        study = self.spec.study
        figures: dict[str, Any] = {
            "federated": measure_weights(study, self.weights, self.data.holdout).to_dict(),
            "local": None,
        }
        if study.privacy is None:
            figures["local"] = measure_weights(study, self.train_alone(), self.data.holdout).to_dict()
        self.evaluation = figures
        for name, auc in figures.items():
            if auc and auc["value"] is not None:
                self.report.metric(f"auc/{name}", auc["value"], round)
        if not study.egress.metrics:
            self.stopped = "completed"
            self.send("leave", "leave", round, encode_canonical({"reason": self.stopped}))
        else:
            try:
                self.send("evaluation", "evaluation", round, encode_canonical(figures))
            except FederationError as error:
                self.leave(round, error)
                raise
        self.is_delivered = True
        replace_file(self.home / FINAL_MODEL, encode_weights(self.weights, {"study": self.ledger.study}))
        write_outcome(self.home, self.ledger.study, {"evaluation": figures})

    def restore_outcome(self) -> None:
        """Know of an attempt before this one that came to the end of the study, and was killed before its job was."""
        fields = read_outcome(self.home, self.ledger.study)
        if fields:
            with suppress(OSError, FederationError):
                self.weights = decode_weights((self.home / FINAL_MODEL).read_bytes(), self.expected)
                self.evaluation, self.is_delivered = fields["evaluation"], True

    def train_alone(self) -> Weights:
        """A model of the same family, with the same steps, on the rows of this site only."""
        weights = self.expected
        for round in range(1, self.spec.study.rounds + 1):
            weights = train_round(self.spec.study, self.data.training, weights, round=round).weights
        return weights

    def leave(self, round: int, error: FederationError) -> None:
        """Tell the server that nothing more will come; the refusal is in the ledger."""
        self.stopped = error.code
        if error.code in CUT_OFF:
            return
        if not any((entry.kind, entry.round) == ("refused", round) for entry in self.ledger.entries):
            self.ledger.record_refusal(b"", round=round, reason=error.code, epsilon=self.state.epsilon)
        with suppress(FederationError):  # the server may be gone; what is told is the first error
            self.send("leave", "leave", round, encode_canonical({"reason": error.code}))

    def send(self, topic: str, kind: EntryKind, round: int, payload: bytes, **fields: float | None) -> dict[str, Any]:
        """Record the message, then let it leave; returns the header of the reply."""
        entry = self.ledger.record(payload, kind=kind, round=round, rule=self.spec.study.egress, **fields)
        return self.exchange(topic, encode_signed(entry, payload))[0]

    def exchange(self, topic: str, data: bytes) -> tuple[dict[str, Any], bytes]:
        reply = self.connection.request(topic, data)
        return decode_message(reply, max_bytes=self.spec.study.update_bytes)

    def open_weights(self, header: Mapping[str, Any], body: bytes) -> tuple[int, Weights]:
        """The round and the global weights. Raises FederationError for others than the study's."""
        round = header.get("round")
        if not isinstance(round, int) or not 0 <= round <= self.spec.study.rounds:
            raise build_weights_error(f"round {round}", f"up to round {self.spec.study.rounds}")
        if compute_digest(body) != header.get("digest"):
            raise build_weights_error("other bytes", "the bytes of the digest")
        weights = decode_weights(body, self.expected)
        if not all(bool((abs(value) < float("inf")).all()) for value in weights.values()):
            raise build_weights_error("NaN or infinity", "finite weights")
        return round, weights


def run(spec: FederationSiteSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Train on the table in the slot ``table`` in each round, and write what this site keeps.

    `inputs`: ``home`` is the site's folder of this study, with its credentials; ledger and state are kept there, and it
    goes on from them. Raises FederationError for whatever does not let anything leave: see docs/federation.md.
    """
    from deepseek.federated.transport import SiteConnection, configure_nvflare

    home, study = get_home(inputs), spec.study
    require_code(study)
    check_home(home, "site")
    report.progress(0, study.rounds, "rounds", stage="read")
    data = read_site_data(inputs[TABLE], study.schema_, holdout=study.holdout, seed=study.seed)
    report.log(f"{len(data.training):,} rows to train on, {len(data.holdout):,} held out")
    for name, count in data.outside.items():
        report.log(f"{name}: {count:,} values are outside the study's schema and count as missing", level="warning")
    plan = plan_noise(study, len(data.training))
    run_self_test(study, plan)
    report.log("the self-test of training and privacy has passed")
    signer = load_private_key(home / LEDGER_KEY)
    digest = compute_study_digest(study)
    with EgressLedger.open(home / LEDGER_NAME, study=digest, site=spec.site, signer=signer) as ledger:
        state = SiteState.read(home)
        require_complete_state(state, ledger)
        way_out = open_way_out(spec.server, proxy=spec.proxy)
        configure_nvflare(study)
        patience, site = spec.join_seconds, spec.site
        connection = SiteConnection(home, spec.server, site=site, study=study, patience=patience, way_out=way_out)
        expected = initialize_weights(study)
        part = Participation(spec, home, data, plan, ledger, state, connection, report, expected)
        part.restore_outcome()
        if part.is_delivered:  # the server may have ended for good
            connection.patience = min(connection.patience, RESUME_SECONDS)
        try:
            part.take_part()
        finally:
            connection.close()
        return write_outputs(part, out)


def require_complete_state(state: SiteState, ledger: EgressLedger) -> None:
    """Raise FederationError ``state_broken`` where updates have left that the state does not know: their spend."""
    if max((entry.round for entry in ledger.entries if entry.kind == "update"), default=0) > state.round:
        raise build_state_error()


def write_outputs(part: Participation, out: Path) -> Result:
    """The ledger, and of a study that came to its end the global weights and this site's figures."""
    outputs = [Output("ledger", LEDGER_NAME, LEDGER_TYPE, {"entries": len(part.ledger.entries)})]
    with stage_outputs(out) as stage:
        (stage / LEDGER_NAME).write_bytes((part.home / LEDGER_NAME).read_bytes())
        if part.weights is not None and part.evaluation is not None:
            (stage / MODEL_NAME).write_bytes(encode_weights(part.weights, {"study": part.ledger.study}))
            (stage / EVALUATION_NAME).write_text(json.dumps(part.evaluation, indent=1) + "\n")
            outputs.append(Output("model", MODEL_NAME, MODEL_TYPE))
            outputs.append(Output("evaluation", EVALUATION_NAME, FEDERATION_TYPE, part.evaluation))
    updates = sum(entry.kind == "update" for entry in part.ledger.entries)
    summary: dict[str, JSON] = {"updates": updates, "epsilon": part.state.epsilon, "stopped": part.stopped}
    return Result(tuple(outputs), summary)


def encode_signed(entry: LedgerEntry, payload: bytes) -> bytes:
    """A message with its ledger entry: the server can show later what the site has signed."""
    return encode_message({"entry": entry.model_dump()}, payload)


def parse_seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) and value == value else 1.0


def require_finite(norm: float) -> None:
    """Raise FederationError ``training_diverged`` for weights that are no numbers."""
    if not math.isfinite(norm):
        raise FederationError(
            "training_diverged",
            N_("The training of this site came to values that are no numbers."),
            field="/study/learning_rate",
            limit="finite weights",
            hint=N_("Nothing has left. Agree on a lower learning rate, and approve the study again."),
        )


def build_refused_error(header: Mapping[str, Any]) -> FederationError:
    return FederationError(
        "site_refused",
        N_("The server does not let this site take part: {reason}"),
        field="/server",
        value=str(header.get("code"))[:100],
        limit="a site of the study, with its code and its key",
        hint=N_("Ask the coordinator for a new invitation."),
        reason=str(header.get("reason"))[:300],
    )


def build_weights_error(value: str, limit: str) -> FederationError:
    return FederationError(
        "weights_refused",
        N_("The server sends weights that are not the study's."),
        field="weights",
        value=value,
        limit=limit,
        hint=N_("Nothing has left. Ask the coordinator what its server runs."),
    )
