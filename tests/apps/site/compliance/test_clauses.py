"""The clause table: complete, in both languages, and every clause answered by something."""

from __future__ import annotations

from collections import Counter

from apps.site.compliance.clauses import CLAUSES, CONTROLS
from apps.site.compliance.probes.registry import PROBES
from apps.site.compliance.states import combine_verdicts

LETTERS = {
    "8.1.4.1": "abcd", "8.1.4.2": "abcdefg", "8.1.4.3": "abcd", "8.1.4.4": "abcdef", "8.1.4.5": "", "8.1.4.6": "",
    "8.1.4.7": "ab", "8.1.4.8": "ab", "8.1.4.9": "abc", "8.1.4.10": "ab", "8.1.4.11": "ab", "8.1.5.1": "ab",
    "8.1.5.2": "ab", "8.1.5.3": "ab", "8.1.5.4": "abcdef",
}  # fmt: skip


def test_the_46_clauses_are_there_in_order():
    expected = [
        f"{control}.{letter}" if letter else control for control, all_ in LETTERS.items() for letter in all_ or [""]
    ]
    assert [clause.id for clause in CLAUSES] == expected
    assert len(CLAUSES) == 46
    assert {clause.control for clause in CLAUSES} == set(CONTROLS) == set(LETTERS)


def test_every_clause_is_answered_and_every_probe_is_used():
    named = {name for clause in CLAUSES for name in clause.probes}
    assert named == set(PROBES)
    assert [clause.id for clause in CLAUSES if not clause.probes and clause.document is None] == []


def test_summaries_are_own_ones_in_both_languages():
    texts = [clause.summary for clause in CLAUSES] + list(CONTROLS.values())
    assert [text.en for text in texts if not text.en.isascii() or len(text.zh) < 4] == []
    assert max(Counter(clause.summary.en for clause in CLAUSES).values()) == 1


def test_verdict_of_a_whole():
    cells = {
        ("met", "met"): "met",
        ("met", "not met"): "partly",
        ("not met", "not met"): "not met",
        ("partly", "not met"): "partly",
        ("met", "not applicable"): "met",
        ("not applicable",): "not applicable",
        ("not met", "not applicable"): "not met",
        (): "not met",
    }
    assert {parts: str(combine_verdicts(parts)) for parts in cells} == cells
