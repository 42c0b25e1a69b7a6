"""That it is really this person, now: asked again before what must not happen by an unlocked screen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """`method`: password, password+code, or token (a token of the person is the proof itself)."""

    user_id: int
    method: str
