"""The digest of a submission: kept with its key, so that what is sent again after an upgrade is still the same."""

from __future__ import annotations

from dataclasses import dataclass

from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.submission import Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterNeeds(Needs):
    """As of a version that knows one more thing to ask for."""

    nodes: int = 1


def digest_with(needs: Needs | None) -> str:
    return Submission(kind="noop", spec={}, needs=needs).digest()


def test_digests_that_are_stored_still_match():
    """Computed by the version that took the `repr` of Needs."""
    assert digest_with(None) == "0b59fb19fde2e184cc6ad12da796172253d71d0e2b9f22188eed6019557089ef"
    with_gpu = "ce57dae16d01b7adec8030654fb79ca98a9312b96830a9a48cf80e77a8d97e8f"
    assert digest_with(Needs(cpus=2.0, gpus=1)) == with_gpu


def test_a_field_of_a_later_version_changes_no_digest_until_it_is_set():
    assert digest_with(LaterNeeds(cpus=2.0)) == digest_with(Needs(cpus=2.0))
    assert digest_with(LaterNeeds(cpus=2.0, nodes=4)) != digest_with(Needs(cpus=2.0))


def test_what_differs_in_a_need_is_another_submission():
    needs = (None, Needs(), Needs(cpus=2.0), Needs(gpus=1), Needs(memory_bytes=2**20))
    digests = {digest_with(one) for one in needs}
    assert len(digests) == 5
