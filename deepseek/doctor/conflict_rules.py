"""Known conflicts of driver, board, firmware, kernel, CUDA and torch: versioned data, and rules that a machine answers.

A rule applies where all of its conditions do. A condition on a version is a list of comparisons, `>=525.60,<525.105`;
one on a text is a list of parts, one of which the text must hold in any case. What is not known matches nothing.

Log patterns are literal text with `*` for anything within a line: searched part by part, so that no text, however it
was made, takes longer than its length.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from deepseek.job import EngineError
from deepseek.signing.dsse import Envelope, verify
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import compute_key_id, decode_public_key

PAYLOAD_TYPE = "application/vnd.deepseek.conflicts.v1+json"
FORMAT = "deepseek-conflicts/1"
VERSIONS = ("driver", "kernel", "cuda", "torch", "torch_cuda", "firmware_date")
TEXTS = ("board", "board_vendor", "firmware", "gpu", "vbios", "processor", "os", "kernel_flavour", "kernel_arguments")
SEVERITIES = ("fail", "warn")
MAX_RULES, MAX_TEXT, MAX_PATTERNS, MAX_PATTERN = 2000, 1000, 8, 200
MAX_LINE = 4000  # characters of a log's line that are searched
OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
COMPARISON = re.compile(r"(>=|<=|==|>|<)\s*(\d{1,9}(?:[.-]\d{1,9}){0,5})")
RULE_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,63}")


class ConflictRulesError(EngineError):
    """Rules of another form, or with another signature; code ``bad_conflicts``."""


# -- reading --------------------------------------------------------------------------------------------------------
def load_builtin_rules() -> dict[str, Any]:
    """The document that this version ships."""
    return parse_document(files("deepseek.doctor").joinpath("conflicts.json").read_bytes(), "conflicts.json")


def parse_document(content: bytes, name: str) -> dict[str, Any]:
    """{"format", "version", "rules"}, checked. Raises ConflictRulesError, which names the first fault."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise _build_error(name, "it is no JSON", "/", "JSON in UTF-8") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _build_error(name, "it has another format", "/format", FORMAT)
    if not isinstance(document.get("version"), str) or not 0 < len(document["version"]) <= 40:
        raise _build_error(name, "it has no version", "/version", "a text of 1 to 40 characters")
    rules = document.get("rules")
    if not isinstance(rules, list) or not 0 < len(rules) <= MAX_RULES:
        raise _build_error(name, "it has no list of rules", "/rules", f"1 to {MAX_RULES} rules")
    for index, rule in enumerate(rules):
        _check_rule(rule, f"/rules/{index}", name)
    ids = [rule["id"] for rule in rules]
    if twice := next((each for each in ids if ids.count(each) > 1), None):
        raise _build_error(name, f"the rule {twice} stands twice", "/rules", "every id once")
    return document


def _check_rule(rule: Any, field: str, name: str) -> None:
    if not isinstance(rule, dict) or set(rule) - {"id", "severity", "when", "cause", "remedy", "source", "log"}:
        raise _build_error(name, "a rule has another form", field, "id, severity, when, cause, remedy, source, log")
    if not isinstance(rule.get("id"), str) or not RULE_ID.fullmatch(rule["id"]):
        raise _build_error(name, "a rule has no id", f"{field}/id", "lower-case letters, digits and hyphens, 2 to 64")
    if rule.get("severity") not in SEVERITIES:
        raise _build_error(name, "its severity is not known", f"{field}/severity", " or ".join(SEVERITIES))
    for key in ("cause", "remedy", "source"):
        if not isinstance(rule.get(key), str) or not 0 < len(rule[key]) <= MAX_TEXT:
            raise _build_error(name, f"a rule has no {key}", f"{field}/{key}", f"a text of 1 to {MAX_TEXT} characters")
    when, patterns = rule.get("when", {}), rule.get("log", [])
    if not isinstance(when, dict) or not isinstance(patterns, list) or not (when or patterns):
        raise _build_error(name, "a rule has no condition", f"{field}/when", "conditions, or patterns in log")
    for key, condition in when.items():
        _check_condition(key, condition, f"{field}/when/{key}", name)
    if len(patterns) > MAX_PATTERNS or not all(is_pattern(each) for each in patterns):
        limit = f"at most {MAX_PATTERNS} texts with 8 to {MAX_PATTERN} characters beside *"
        raise _build_error(name, "a pattern cannot be used", f"{field}/log", limit)


def is_pattern(pattern: Any) -> bool:
    """Whether it is specific enough: a pattern of a few letters would match every log."""
    return isinstance(pattern, str) and len(pattern.replace("*", "").strip()) >= 8 and len(pattern) <= MAX_PATTERN


def _check_condition(key: str, condition: Any, field: str, name: str) -> None:
    if key in VERSIONS:
        parts = condition.split(",") if isinstance(condition, str) and len(condition) <= 100 else [""]
        if not all(COMPARISON.fullmatch(part.strip()) for part in parts):
            raise _build_error(
                name, "a version condition cannot be read", field, "comparisons such as >=525.60,<525.105"
            )
    elif key in TEXTS:
        texts = condition if isinstance(condition, list) else []
        if not 0 < len(texts) <= 50 or not all(isinstance(each, str) and 0 < len(each) <= 100 for each in texts):
            raise _build_error(name, "a text condition cannot be read", field, "a list of 1 to 50 texts")
    else:
        raise _build_error(name, f"nothing is known as {key[:40]}", field, ", ".join((*VERSIONS, *TEXTS)))


def _build_error(name: str, what: str, field: str, limit: str) -> ConflictRulesError:
    return ConflictRulesError(
        "bad_conflicts",
        "The conflict rules in {name} are not used: {what}.",
        name=name,
        what=what,
        field=field,
        value=name,
        limit=limit,
        hint="docs/doctor.md shows the format.",
    )


def read_signed_rules(content: bytes, keys: str, name: str) -> dict[str, Any]:
    """The document of a signed file. `keys`: text with a public key in base64 at the beginning of each line.

    Raises ConflictRulesError for a signature that none of the keys made, for rules at fault, and without a key.
    """
    try:
        lines = [line.split()[0] for line in keys.splitlines() if line.strip() and not line.startswith("#")]
        trusted = {compute_key_id(key): key for key in (decode_public_key(line) for line in lines)}
        payload = verify(Envelope.parse(content), trusted, payload_type=PAYLOAD_TYPE)
    except SigningError as error:
        raise _build_error(name, str(error).rstrip("."), error.field or "/", str(error.limit or "")) from None
    return parse_document(payload, name)


def merge_rules(builtin: Sequence[Mapping[str, Any]], site: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Ours with those of the site, which replace ours of the same id."""
    return list({rule["id"]: rule for rule in (*builtin, *site)}.values())


# -- matching -------------------------------------------------------------------------------------------------------
def find_conflicts(facts: Mapping[str, Any], rules: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rules of which every condition holds; those that only look at logs are none of them."""
    return [
        rule
        for rule in rules
        if rule.get("when") and all(is_met(facts.get(key), key, want) for key, want in rule["when"].items())
    ]


def is_met(fact: Any, key: str, condition: Any) -> bool:
    if not fact:
        return False
    if key in VERSIONS:
        version = parse_version(str(fact))
        return bool(version) and all(_compares(version, part) for part in condition.split(","))
    texts = [str(each).casefold() for each in fact]
    return any(part.casefold() in text for part in condition for text in texts)


def parse_version(text: str) -> tuple[int, ...]:
    """The leading numbers of a version, such as (550, 54, 14)."""
    match = re.match(r"\d+(?:\.\d+)*", text.strip())
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _compares(version: tuple[int, ...], part: str) -> bool:
    match = COMPARISON.fullmatch(part.strip())
    if match is None:
        return False
    bound = tuple(int(number) for number in re.split(r"[.-]", match[2]))
    length = max(len(bound), len(version))
    padded = [numbers + (0,) * (length - len(numbers)) for numbers in (version, bound)]
    return OPERATORS[match[1]](padded[0], padded[1])


def find_log_conflicts(lines: Iterable[str], rules: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], str]]:
    """(rule, first line that it matches) for each rule with a pattern that a line of the log matches."""
    open_rules = {rule["id"]: (rule, [each.split("*") for each in rule["log"]]) for rule in rules if rule.get("log")}
    matches: list[tuple[Mapping[str, Any], str]] = []
    for line in lines:
        text = line[:MAX_LINE]
        matched = [key for key, (_, patterns) in open_rules.items() if any(holds(text, each) for each in patterns)]
        matches += [(open_rules.pop(key)[0], text.strip()) for key in matched]
    return matches


def holds(text: str, parts: Sequence[str]) -> bool:
    """Whether the parts stand in the text in this order: one pass."""
    at = 0
    for part in parts:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True
