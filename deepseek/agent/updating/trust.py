"""Which keys this device trusts, and whether a release is one that it may install."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepseek.agent.errors import AgentError, ReleaseRefused
from deepseek.agent.storage.disk import read_json
from deepseek.agent.storage.home import Home
from deepseek.agent.storage.state import DeviceState
from deepseek.signing.dsse import Envelope
from deepseek.signing.key_lists import (
    KeyList,
    SignedKeyList,
    VerifiedRelease,
    parse_key_lists,
    verify_key_lists,
    verify_release,
)
from deepseek.signing.provenance import verify_provenance
from deepseek.signing.statements import ReleaseStatement


class TrustStore:
    """The newest list of release keys that was verified. It only ever goes forward."""

    def __init__(self, home: Home) -> None:
        self._home = home
        stored = read_json(home.keys_file)
        self.keys: KeyList | None = None if stored is None else SignedKeyList.parse(stored).content

    @property
    def version(self) -> int:
        return 0 if self.keys is None else self.keys.version

    def accept(self, document: Any, *, fingerprint: str = "", is_page: bool = False) -> bool:
        """Follow the chain of lists in `document`, and whether that led to a newer one.

        Without any list yet, the first of the chain is trusted: it came with the enrolment, or has the `fingerprint`
        that a person compared. Lists of a page may end before its version. Raises SigningError, and then the list stays
        as it was.
        """
        lists = parse_key_lists(document, is_page=is_page)
        newest = verify_key_lists(lists, trusted=self.keys, fingerprint=fingerprint)
        if newest.version == self.version:
            return False
        envelope = next(each.envelope for each in lists if each.content.version == newest.version)
        self._home.disk.write_json(self._home.keys_file, envelope.to_document())
        self.keys = newest
        return True

    def require_keys(self) -> KeyList:
        """The list. Raises AgentError ``no_keys`` on a device that has none yet."""
        if self.keys is None:
            raise AgentError(
                "no_keys",
                "This device does not know any release key yet.",
                field="--fingerprint",
                limit="the fingerprint of the plane's first list of keys",
                hint="Enrol the device, or give the fingerprint that the plane shows: --fingerprint SHA256.",
            )
        return self.keys


@dataclass(frozen=True)
class ReleaseGate:
    """What a release has to be for this device."""

    keys: KeyList
    architecture: str
    project: str = ""
    is_provenance_required: bool = False

    def check(self, document: Any, state: DeviceState, provenance: Any = None) -> VerifiedRelease:
        """The release of an envelope, once nothing speaks against it. `provenance`: the envelope that came beside it.

        Raises SigningError for its signature, a revocation or its provenance, and ReleaseRefused
        ``architecture_wrong``, ``project_wrong`` or ``downgrade_refused``.
        """
        verified = verify_release(Envelope.from_document(document), self.keys)
        statement = verified.statement
        verify_provenance(provenance, statement, self.keys.public_keys, is_required=self.is_provenance_required)
        if statement.architecture not in ("any", self.architecture):
            raise ReleaseRefused(
                "architecture_wrong",
                f"The release is for {statement.architecture}, and this device is {self.architecture}.",
                field="architecture",
                value=statement.architecture,
                limit=f"any, {self.architecture}",
                hint="Assign a variant that was made for this device.",
            )
        if self.project and statement.project != self.project:
            raise ReleaseRefused(
                "project_wrong",
                f"The release is of the project {statement.project}, and this device is of {self.project}.",
                field="project",
                value=statement.project,
                limit=self.project,
                hint="Assign a release of the device's own project.",
            )
        self._check_sequence(verified, state)
        return verified

    def _check_sequence(self, verified: VerifiedRelease, state: DeviceState) -> None:
        """The release that has the highest sequence may be installed again: it is no older one."""
        statement = verified.statement
        highest = state.sequences.get(get_model_key(statement))
        if highest is None or statement.sequence > highest["sequence"] or verified.digest == highest["release"]:
            return
        raise ReleaseRefused(
            "downgrade_refused",
            f"The release has the sequence {statement.sequence}, and {highest['sequence']} was installed before.",
            field="sequence",
            value=str(statement.sequence),
            limit=f"above {highest['sequence']}",
            hint="To go back to an older version, issue a new release of it.",
        )


def get_model_key(statement: ReleaseStatement) -> str:
    """What sequences are counted by."""
    return f"{statement.project}/{statement.model}"
