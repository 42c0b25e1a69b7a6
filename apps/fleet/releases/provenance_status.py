"""What a person sees of the provenance of a release: who signed it, and whether a device would accept it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from apps.fleet.releases.models import Release
from apps.fleet.releases.states import KeyState
from deepseek.signing.dsse import Envelope, verify
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import decode_public_key
from deepseek.signing.provenance import verify_provenance
from deepseek.signing.statements import RELEASE_TYPE, ReleaseStatement

VERIFIED, ABSENT = "verified", "absent"


@dataclass(frozen=True, slots=True)
class ProvenanceStatus:
    """`verdict`: verified, absent, or the code with which a device refuses it; `signer`: the id of its key."""

    verdict: str
    signer: str = ""

    @property
    def is_verified(self) -> bool:
        return self.verdict == VERIFIED

    @property
    def is_absent(self) -> bool:
        return self.verdict == ABSENT


def check_provenance(release: Release) -> ProvenanceStatus:
    """Verify the provenance of a release as a device does, with the key that signed the release (`key` is loaded)."""
    if not release.provenance:
        return ProvenanceStatus(ABSENT)
    signer = ""
    try:
        is_trusted = release.key.state != KeyState.REVOKED
        keys = {release.key.key_id: decode_public_key(release.key.public_key)} if is_trusted else {}
        envelope = Envelope.parse(release.provenance)
        signer = ", ".join(signature.key_id for signature in envelope.signatures)
        statement = ReleaseStatement.parse(verify(Envelope.parse(release.envelope), keys, payload_type=RELEASE_TYPE))
        verify_provenance(json.loads(release.provenance), statement, keys)
    except SigningError as error:
        return ProvenanceStatus(error.code, signer)
    return ProvenanceStatus(VERIFIED, signer)
