"""mask: personal data hidden in texts."""

from __future__ import annotations

from collections.abc import Callable

from deepseek.clean.personal import hiding
from deepseek.clean.steps.texts import Texts
from deepseek.job import EngineError

KEY_SLOT = "pseudonym_key"
"""The input that holds the project's key, at least 16 bytes: never in a spec, for a spec is shown, logged and kept."""


class Mask(Texts):
    """mask"""

    def changing(self) -> Callable[[str], str | None]:
        key = self.around.key
        if self.step.how == "pseudonym" and (key is None or len(key) < 16):
            raise EngineError(
                "no_pseudonym_key",
                "Pseudonyms need the project's key, and none was given." if key is None else "The key is too short.",
                field=self.at("how"),
                value="pseudonym",
                limit="a file with a key of at least 16 bytes",
                hint="On the command line: --pseudonym-key-file FILE, made by `head -c 32 /dev/urandom > FILE`; "
                "or mask with asterisks.",
            )
        return hiding(self.step.what, self.step.how, key)
