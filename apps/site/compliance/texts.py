"""A text in both languages of the evidence: reports show them side by side, whatever the reader's language is."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import get_language


@dataclass(frozen=True, slots=True)
class Bilingual:
    en: str
    zh: str

    def __str__(self) -> str:
        """In the active language."""
        return self.zh if (get_language() or "").lower().startswith("zh") else self.en

    def to_dict(self) -> dict[str, str]:
        return {"en": self.en, "zh": self.zh}


def choose_text(texts: dict[str, str]) -> str:
    """The text of a stored pair in the active language."""
    return str(Bilingual(texts.get("en", ""), texts.get("zh", "")))
