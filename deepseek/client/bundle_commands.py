"""The command ``deepseek bundle``: what travels between planes without a network (docs/transfer.md)."""

from __future__ import annotations

from collections.abc import Sequence

from deepseek.bundles import command
from deepseek.client.commands import choose_action


def manage_bundles(words: Sequence[str]) -> int:
    """Make keys, sign and verify bundles."""
    actions = {
        "keygen": command.create_personal_key,
        "sign": command.sign_bundle,
        "verify": command.verify_folder,
    }
    return choose_action("bundle", words, actions, "Bundles: what travels between planes without a network.")
