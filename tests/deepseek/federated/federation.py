"""A federation in one process: NVFlare's controller and our board, with sites in threads and no network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.federated.aggregation import StudyController
from deepseek.federated.board import Board
from deepseek.federated.features import Examples, SiteData
from deepseek.federated.ledger import EgressLedger
from deepseek.federated.network import Weights, initialize_weights
from deepseek.federated.privacy import NoisePlan, plan_noise
from deepseek.federated.server import describe_round
from deepseek.federated.site import Participation
from deepseek.federated.spec import FederationServerSpec, FederationSiteSpec, StudySpec, compute_study_digest
from deepseek.federated.state import ServerState, SiteState
from deepseek.federated.wire import compute_digest, encode_weights
from deepseek.job import Silent
from deepseek.signing.keys import FileSigner, encode_public_key, generate_key


class Direct:
    """A connection that calls the board. `tamper` may change what a site sends, by topic."""

    def __init__(self, board: Board, site: str, tamper: Callable[[str, bytes], bytes] | None = None) -> None:
        self.board, self.site, self.tamper = board, site, tamper
        self.sent: list[tuple[str, bytes]] = []

    def request(self, topic: str, payload: bytes) -> bytes:
        payload = self.tamper(topic, payload) if self.tamper else payload
        self.sent.append((topic, payload))
        calls = {"update": "submit", "evaluation": "evaluate"}
        return getattr(self.board, calls.get(topic, topic))(self.site, payload)


class Federation:
    """Sites by name, each with rows of the same rule; `run` goes through the rounds and returns the weights."""

    def __init__(self, study: StudySpec, folder: Path, sites=("north", "south", "west"), **limits: Any) -> None:
        self.study, self.folder = study, folder
        self.signers: dict[str, FileSigner] = {site: generate_key() for site in sites}
        rows = [{"name": site, "public_key": encode_public_key(key.public_key)} for site, key in self.signers.items()]
        limits = {"join_seconds": 20, "round_seconds": 20} | limits
        self.spec = FederationServerSpec.model_validate({"study": study.to_document(), "sites": rows} | limits)
        self.board = Board(self.spec, Silent())
        self.state = ServerState(0, initialize_weights(study))
        self.connections: dict[str, Direct] = {}
        self.parts: dict[str, Participation] = {}
        self.threads: list[threading.Thread] = []
        self.errors: dict[str, BaseException] = {}

    def build_part(self, site: str, *, rows: int = 80, tamper=None) -> Participation:
        """The site's part; its folder is the same when it is built again."""
        home = self.folder / site
        home.mkdir(parents=True, exist_ok=True)
        digest = compute_study_digest(self.study)
        data = SiteData(build_rows(self.study, rows, len(site)), build_rows(self.study, 40, 99), {})
        ledger = EgressLedger.open(home / "ledger.jsonl", study=digest, site=site, signer=self.signers[site])
        spec = FederationSiteSpec(study=self.study.to_document(), site=site, server="server:8102")
        connection = self.connections[site] = Direct(self.board, site, tamper)
        plan, expected = get_plan(self.study, rows), initialize_weights(self.study)
        state = SiteState.read(home)
        part = Participation(spec, home, data, plan, ledger, state, connection, Silent(), expected)
        self.parts[site] = part
        return part

    def start_again(self, **limits: Any) -> Federation:
        """Another server of the same study, which knows nothing; the sites' folders stay."""
        again = Federation(self.study, self.folder, tuple(self.signers), **limits)
        again.signers = self.signers
        sites = [site.model_dump() for site in self.spec.sites]
        again.spec = FederationServerSpec.model_validate(again.spec.model_dump(by_alias=True) | {"sites": sites})
        again.board = Board(again.spec, Silent())
        return again

    def start_site(self, site: str, **options: Any) -> threading.Thread:
        part = self.build_part(site, **options)

        def take_part() -> None:
            try:
                part.take_part()
            except BaseException as error:
                self.errors[site] = error
            finally:
                self.board.disconnect(site)
                part.ledger.close()

        thread = threading.Thread(target=take_part, daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    def wait(self) -> None:
        """Until no site takes part any more."""
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()

    def run(self, *, evaluate: bool = True) -> Weights:
        """All rounds, as the server's run has them."""
        self.board.await_sites(seconds=20, all_seconds=20)

        def save(round: int, weights: Weights, updates: dict) -> None:
            self.state.round, self.state.weights = round, weights
            self.state.history.append(describe_round(self.board, round, updates))

        StudyController(self.board, self.state.weights, first_round=self.state.round + 1, save=save).run()
        content = encode_weights(self.state.weights, {})
        if evaluate:
            self.board.open_evaluation(self.state.round, compute_digest(content), content)
        self.board.await_evaluations(20 if evaluate else 0)
        self.wait()
        return self.state.weights


@cache
def get_plan(study: StudySpec, rows: int) -> NoisePlan | None:
    return plan_noise(study, rows)


def build_rows(study: StudySpec, rows: int, seed: int) -> Examples:
    """Rows whose label follows from the first input, most of the time."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(rows, study.schema_.inputs)).astype(np.float32)
    return Examples(inputs, (inputs[:, 0] + 0.3 * draw.normal(size=rows) > 0).astype(np.float32))
