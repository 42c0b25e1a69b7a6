"""A plane that was restored issues no sequence again that a device may have installed."""

from __future__ import annotations

import pytest

from apps.core.errors import Refused
from apps.fleet.releases.services import skip_issued_sequences
from apps.fleet.releases.services.restoration import SKIPPED_SEQUENCES

pytestmark = pytest.mark.django_db


def test_sequences_go_on_above_what_may_have_been_issued(variant, issue, operator):
    before = issue(variant).sequence
    skip_issued_sequences(actor=operator)
    assert issue(variant).sequence == before + SKIPPED_SEQUENCES
    assert issue(variant).sequence == before + SKIPPED_SEQUENCES + 1
    skip_issued_sequences(actor=operator)
    skip_issued_sequences(actor=operator)
    assert issue(variant).sequence > before + 3 * SKIPPED_SEQUENCES


def test_people_may_not(db, actor_for, engineer):
    with pytest.raises(Refused):
        skip_issued_sequences(actor=actor_for(engineer))
