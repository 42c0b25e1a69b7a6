"""How the time of every reader of outside input grows when hostile input doubles in length.

Run: python benchmarks/hostile_input.py [PART OF A NAME...]      (all of them: a minute of processor time)

Each reader gets texts that repeat one unit, between a beginning and an end that make it look for more and then fail.
All are tried on two sizes; the most suspicious double until one takes SECONDS or has MAX_CHARACTERS (or as many as the
reader is ever given), and the worst is shown. The growth is the median of the last three doublings (one of them may be
where memory begins to come from elsewhere): 2 is linear, 4 is quadratic. Exit code 1 where one grows by more than
FACTOR, or takes longer than GIVEN_UP_SECONDS. A parser of others that is bounded in what it gets may grow faster, but
takes no longer than BOUNDED_SECONDS for the most. Processor time of one thread, the least of three; no database, no
network.
"""

from __future__ import annotations

import gc
import io
import itertools
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 0.05
LEAST_SECONDS = 0.002  # what is quicker cannot be told from noise
GIVEN_UP_SECONDS = 20
BOUNDED_SECONDS = 0.25  # at most, of the longest text that a bounded reader gets
FIRST, TRIED, MAX_CHARACTERS = 1 << 10, 1 << 13, 1 << 18
SUSPECTS = 4  # units of a reader that are doubled until they take long
FACTOR = 3.0
ROUNDS, TRIES = 3, 3

# Two of one sort in a row, a sort that ends another, what opens and never closes, and what closes what never opened.
PLAIN = """
1 1. .1 1e 1, - +1 a a. a= aé 中 _ A1 ' '' \\' " "" \""" ` `` ( (( () ) [ [[ ]( ![ { {} } < << <a <a> > / // /a
\\ : :: a: ; , ,, ," ,\"""x | @ # ## * ** *a _a_ ~ ~~ ! = == % & && $ ^ ? ... =, ='a' AND 1AND
"""
BLANKS = (" ", "\t", "\n", "\r", "\r\n", " \n", "\n\n", "\x1c", "\u3000")
WITH_BLANKS = ("a ", " a", "1 ", "- ", "> ", "\n- ", "\n> ", "\n# ", ": ")
UNITS = (*PLAIN.split(), *BLANKS, *WITH_BLANKS)


@dataclass(frozen=True)
class Reader:
    """`read` takes a text; `around`: what stands before and behind the units; `most`: characters it ever gets."""

    name: str
    read: Callable[[str], object]
    around: tuple[tuple[str, str], ...] = (("", ""), ("", "\x01"))
    units: tuple[str, ...] = UNITS
    most: int = MAX_CHARACTERS
    bounded: bool = False  # a parser of others that is not linear, and never gets more than `most`


class GivenUp(Exception):
    """It took longer than GIVEN_UP_SECONDS."""


@contextmanager
def deadline() -> Iterator[None]:
    def give_up(_number: int, _frame: object) -> None:
        raise GivenUp

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(GIVEN_UP_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def seconds(read: Callable[[str], object], text: str) -> float:
    began = time.thread_time()
    with deadline():
        try:
            read(text)
        except GivenUp:
            raise
        except Exception:  # noqa: BLE001 - it is refused, as it should be
            pass
    return time.thread_time() - began


def text_of(unit: str, size: int, around: tuple[str, str]) -> str:
    return around[0] + unit * max(1, size // len(unit)) + around[1]


@dataclass
class Measured:
    unit: str
    times: list[tuple[int, float]]

    @property
    def growth(self) -> float:
        if len(self.times) < 4 or self.times[-1][1] < LEAST_SECONDS:
            return 1.0
        last = [taken for _size, taken in self.times[-4:]]
        return statistics.median(after / max(before, 1e-6) for before, after in itertools.pairwise(last))


def measure(reader: Reader, unit: str, around: tuple[str, str]) -> Measured:
    measured = Measured(unit, [])
    size = FIRST
    while size <= reader.most or (reader.bounded and size < 2 * reader.most):
        size = min(size, reader.most)
        taken = min(seconds(reader.read, text_of(unit, size, around)) for _ in range(ROUNDS))
        measured.times.append((size, taken))
        if taken > SECONDS and not reader.bounded:
            break
        size *= 2
    return measured


def worst(reader: Reader) -> Measured:
    """The unit of the fastest growth: all are tried on two sizes, the suspects are doubled."""
    tried = [(suspicion(reader, unit, around), unit, around) for around in reader.around for unit in reader.units]
    suspects = sorted(tried, key=lambda one: one[0], reverse=True)[:SUSPECTS]
    measured = [measured_surely(reader, unit, around) for _growth, unit, around in suspects]
    return max(measured, key=lambda one: (one.growth, one.times[-1][1]))


def measured_surely(reader: Reader, unit: str, around: tuple[str, str]) -> Measured:
    """Once more where it grows too fast: a machine that does other work makes one doubling slow, and rarely thrice."""
    tries = [measure(reader, unit, around)]
    while tries[-1].growth > FACTOR and len(tries) < TRIES:
        tries.append(measure(reader, unit, around))
    return min(tries, key=lambda one: one.growth)


def suspicion(reader: Reader, unit: str, around: tuple[str, str]) -> float:
    """By how much it takes longer for four times as much, and how long at all."""
    small, large = (
        seconds(reader.read, text_of(unit, size, around))
        for size in (min(reader.most, TRIED) // 4, min(reader.most, TRIED))
    )
    return large / max(small, 1e-4) + large


# -- what reads --------------------------------------------------------------------------------------------------------
def readers() -> Iterator[Reader]:
    yield from readers_of_searches()
    yield from readers_of_tables()
    yield from readers_of_bodies()
    yield from readers_of_git()
    yield from readers_of_headers()
    yield from readers_of_texts()
    yield from readers_of_the_engine()


def readers_of_searches() -> Iterator[Reader]:
    from django.http import QueryDict

    from apps.core.lists import listing, pages
    from apps.ml.experiments.filters import completion, grammar, orders, tokens, vocabularies
    from apps.ml.experiments.filters.sql import convert_like_to_regex
    from apps.ml.registry import filters as registry_filters
    from apps.web.search import query

    around = (("", ""), ("", "x"), ("metrics.a > ", "x"), ("tags.a = '", ""), ("tags.a IN (", ")"))
    vocabulary = vocabularies.RUNS
    yield Reader("MLflow filter", lambda text: grammar.parse(text, vocabulary), around)
    yield Reader("MLflow filter, its tokens", tokens.tokenize, around)
    yield Reader("MLflow order_by", lambda text: orders.read_order(text, vocabulary), (("", ""), ("metrics.", " DESC")))
    yield Reader("filter, what may come next", lambda text: complete(completion, text), (("", ""), ("metrics.a ", "x")))
    yield Reader(
        "ILIKE, its expression",
        lambda text: __import__("re").search(convert_like_to_regex("%a%a%1%b"), text),
        (("", "c"),),
    )
    yield Reader(
        "ILIKE, a long pattern",
        lambda text: __import__("re").search(convert_like_to_regex(text), "a1" * 200),
        most=1000,
    )
    yield Reader("registry order_by", registry_filters.normalize_order)
    yield Reader("list: day", lambda text: listing.parse_day("x", text))
    yield Reader(
        "list: columns", lambda text: listing.parse_names(QueryDict(mutable=True) | {"columns": text}, "columns")
    )
    yield Reader("list: cursor", pages.decode_cursor)
    yield Reader("search field", query.parse_query)
    yield Reader(
        "search field, uncut",
        lambda text: [
            one.match(text)
            for one in (query.NUMBER, query.OF_KIND, query.VERSION, query.PAIR, query.ALIASED, query.SHORTENED)
        ],
    )


def complete(completion: Any, text: str) -> object:
    completion.find_clause_start(text)
    return [form.fullmatch(text) for form in (completion.WITH_OPERATOR, completion.WITH_NAME, completion.ENDED)]


def readers_of_tables() -> Iterator[Reader]:
    from deepseek.tables import csv_dtypes as dtypes
    from deepseek.tables.csv_dialect import find_dialect
    from deepseek.tables.csv_records import inspect_csv

    def pieces(text: str) -> Iterable[bytes]:
        data = text.encode()
        return (data[at : at + 65_536] for at in range(0, len(data), 65_536))

    def guess(text: str) -> str:
        guessed = dtypes.ColumnTypeGuess()
        dtypes.MAX_TYPED_CELL, most = 1 << 30, dtypes.MAX_TYPED_CELL
        try:
            guessed.see(text)
        finally:
            dtypes.MAX_TYPED_CELL = most
        return guessed.dtype

    around = (("", ""), ("a,b\n1,", "y\n"), ("a,b\n", "\n1,2"), ('a,b\n1,"', ""))
    yield Reader("CSV: delimiter and encoding", lambda text: find_dialect(pieces(text)), around)
    yield Reader("CSV: rows and columns", lambda text: inspect_csv(pieces(text)), around)
    yield Reader(
        "CSV: one long line", lambda text: inspect_csv(pieces(text)), (("a,b\n1,", ""),), ("ab",), most=1 << 24
    )
    yield Reader("CSV: type of a cell", guess, (("", ""), ("", "y"), ("2024-01-01 00:00:00.", "y"), ("-", "y")))


def readers_of_bodies() -> Iterator[Reader]:
    from apps.data.datasets.quality import pandera_schemas
    from apps.gateways.mlflow.request import parse_json as read_mlflow
    from apps.gateways.openlineage import checks
    from apps.ml.registry import mlmodel
    from apps.platform.jobs.specforms.typed_lists import split_entries
    from controlplane.rest import read_json

    json_around = (("", ""), ('{"a": "', '"}'), ('{"a": ', "}"), ("[", "]"))
    json_units = (*UNITS, '{"a":', "[", '"\\u0000",', '"a":1,', "1,", "{},", "[],")
    yield Reader("JSON body", lambda text: read_json(text.encode()), json_around, json_units)
    yield Reader("JSON body (MLflow)", lambda text: read_mlflow(text.encode()), json_around, json_units)
    yield Reader("OpenLineage event", lambda text: checks.check_event(event_of(text)))
    yaml_units = (*UNITS, "a: 1\n", "- ", "- a\n", "? ", "a: ", "{a: ", "&a ", "*a ", "!a ", "'a': ", "|\n ", "a:\n ")
    yield Reader(
        "YAML (pandera)", lambda text: pandera_schemas.read_yaml(text.encode()), (("", ""), ("a: ", "x")), yaml_units
    )
    yield Reader("pandera schema", lambda text: pandera_schemas.parse_pandera_expectations(schema_of(text)))
    yield Reader(
        "YAML (MLmodel)",
        lambda text: mlmodel.parse_mlmodel(__import__("yaml").load(text, mlmodel.LOADER)),
        most=mlmodel.MAX_BYTES,
    )
    many = ("12345678",)  # eight characters of a text stand for one of what is many
    yield Reader("job spec: unknown fields", lambda text: spec_of({"outliers": fields_of(text)}), units=many)
    yield Reader("job spec: errors of a list", lambda text: spec_of({"columns": [{}] * (len(text) // 8)}), units=many)
    yield Reader("job spec: repeated names", lambda text: spec_of({"columns": ["x"] * (len(text) // 8)}), units=many)
    yield Reader(
        "OpenLineage event: many facets", lambda text: checks.check_event(event_with(fields_of(text))), units=many
    )
    yield Reader("list typed into a form", split_entries, (("", ""), ('"', "x"), (" ", '"')))


def fields_of(text: str) -> dict[str, Any]:
    return {f"k{number}": {} for number in range(len(text) // 8)}


def spec_of(given: dict[str, Any]) -> object:
    from apps.platform.jobs.kinds import KINDS
    from apps.platform.jobs.spec_validation import parse_model

    return parse_model(KINDS["clean"].spec, given, strict=False, prefix="/spec")


def event_with(facets: dict[str, Any]) -> dict[str, Any]:
    run = {"runId": "00000000-0000-0000-0000-000000000000", "facets": facets}
    about = {"eventTime": "2026-01-01T00:00:00Z", "producer": "http://a", "schemaURL": "http://a"}
    return {**about, "run": run, "job": {"namespace": "a", "name": "b"}}


def event_of(text: str) -> dict[str, Any]:
    return {
        "eventTime": text,
        "producer": text,
        "schemaURL": f"http:{text}",
        "run": {"runId": text, "facets": {text: text}},
    }


def schema_of(text: str) -> dict[str, Any]:
    column = {"dtype": text, "checks": {"str_matches": text, "isin": list(text[:1000])}}
    return {"schema_type": "dataframe", "columns": {text: column, "b": {"dtype": f"decimal({text}"}}}


def readers_of_git() -> Iterator[Reader]:
    from apps.data.repositories import gitattributes, objects, receive_pack, trees

    sha = "0" * 40
    entry = f"100644 blob {sha} 5\t"
    yield Reader(
        "Git: rows of a tree", lambda text: list(trees.read_entries(io.BytesIO(text.encode()))), ((entry, "\0"),)
    )
    rows = (f"{entry}a\0", "\0", "100644 blob ")
    yield Reader(
        "Git: many rows of a tree", lambda text: list(trees.read_entries(io.BytesIO(text.encode()))), (("", ""),), rows
    )
    yield Reader(
        "Git: one long path",
        lambda text: list(trees.read_entries(io.BytesIO(text.encode()))),
        ((entry, "\0"),),
        ("a",),
        most=1 << 24,
    )
    yield Reader(
        "Git: commands of a push",
        lambda text: receive_pack.decide_push(text.encode(), lambda commands, _place: list(commands)),
        (("/x\n", ""),),
        (f"{sha} {sha} refs/heads/main\n", *UNITS),
    )
    yield Reader(
        "Git: .gitattributes",
        lambda text: gitattributes.add_lfs_lines({gitattributes.ATTRIBUTES: text}, ["a.csv", text[:200]]),
        (("", ""),),
        (*UNITS, "*.a filter=lfs\n"),
    )
    yield Reader(
        "Git: pattern for a path", lambda text: (gitattributes.build_pattern(text), gitattributes.is_git_file(text))
    )
    pointer = "version https://git-lfs.github.com/spec/v1\n"
    yield Reader(
        "LFS pointer",
        lambda text: objects.POINTER.fullmatch(text.encode()),
        ((pointer, ""), (pointer, f"oid sha256:{'0' * 64}\nsize 1")),
        (*UNITS, "ext-0-a\n", "ext-0-"),
    )


def readers_of_headers() -> Iterator[Reader]:
    from django.test import RequestFactory
    from django.utils.http import parse_header_parameters

    from apps.platform.artifacts import digests, downloads, file_names
    from apps.platform.audit.middleware import is_json_wanted
    from apps.web.templatetags.user_agents import browser

    ask = RequestFactory()
    most = 8190  # bytes that gunicorn takes of a header
    yield Reader(
        "Range",
        lambda text: downloads.parse_range(ask.get("/", headers={"Range": text}), 9, "x"),
        (("bytes=", ""), ("", "")),
        most=most,
    )
    yield Reader(
        "If-None-Match",
        lambda text: downloads.is_not_modified(ask.get("/", headers={"If-None-Match": text}), "x"),
        (("", ""), ('"', "")),
        (*UNITS, '"a",', 'W/"'),
        most=most,
    )
    yield Reader(
        "Accept",
        lambda text: (
            is_json_wanted(ask.get("/", headers={"Accept": text})),
            ask.get("/", headers={"Accept": text}).accepts("text/html"),
        ),
        (("", ""),),
        (*UNITS, "a/b,", "a/b;q=1,"),
        most=most,
        bounded=True,
    )
    yield Reader("Content-Type", file_names.clean_media_type, (("", ""), ("a/", ";")), most=most)
    yield Reader(
        "Content-Disposition",
        lambda text: (parse_header_parameters(text), file_names.clean_file_name(text)),
        (("", ""), ('form-data; filename="', ""), ("form-data; ", "")),
        (*UNITS, 'a="b";', 'a="\\"'),
        most=most,
        bounded=True,
    )
    yield Reader(
        "Content-Digest",
        lambda text: digests.parse_expected_digest(text, None),
        (("", ""), ("sha-256=:", ":")),
        most=most,
    )
    yield Reader(
        "User-Agent",
        browser,
        (("", ""), ("Version/", "x"), ("Version/1", "")),
        (*UNITS, "Version/1", "Chrome/"),
        most=most,
    )
    yield Reader("Accept-Language", accept_language, (("", ""),), (*UNITS, "en,", "en;q=0.1,", "en-"), most=most)


def accept_language(text: str) -> object:
    from django.utils.translation.trans_real import parse_accept_lang_header

    return parse_accept_lang_header(text)


def readers_of_texts() -> Iterator[Reader]:
    from django.utils.translation import override

    from apps.core import markdown
    from apps.core.lists import csv_files
    from apps.core.messages import translate_message
    from apps.gateways.mlflow_import import artifact_location
    from apps.ml.experiments import keys
    from apps.ml.registry.model_card import blocks as card_blocks
    from apps.ml.registry.services import validation
    from apps.platform.accounts import models
    from apps.platform.approvals.fact_names import NAMES
    from apps.web.templatetags.shell_commands import wrap_words
    from apps.web.zh_typography import strip_spaces
    from deepseek.messages import Message

    def chinese(text: str) -> object:
        with override("zh-hans"):
            return translate_message(Message("Give a {name}.", name=text))

    def page(text: str) -> object:
        from django.utils.html import escape

        return strip_spaces(f"<p>{escape(text)}</p><pre>{escape(text)}</pre>")

    def names(text: str) -> object:
        found = []
        for check in (
            validation.check_alias,
            validation.check_client_alias,
            validation.check_any_name,
            models.SLUG,
            models.USERNAME,
            models.ONE_LINE,
            keys.check_key,
        ):
            with suppress(Exception):
                found.append(check(text))
        return found

    yield Reader("names, aliases, keys", names)
    yield Reader(
        "digests in facts", lambda text: list(NAMES.finditer(text)), (("", ""), ("", "x")), (*UNITS, "0" * 31, "a0")
    )
    notes = (
        *UNITS,
        "[a](",
        "](a",
        "*a_",
        "**a",
        "`a",
        "~~a",
        "|a",
        "|-",
        "- a\n",
        "1. a\n",
        "> > ",
        "  - a\n",
        "[a]: b\n",
        "<http:",
        "&amp",
        "\\[",
        "![a](<b",
    )
    yield Reader(
        "Markdown of a note",
        markdown.render_markdown,
        (("", ""), ("a", "b")),
        notes,
        most=markdown.MAX_CHARACTERS,
        bounded=True,
    )
    yield Reader("model card", card_of(card_blocks), (("", ""),))
    yield Reader(
        "messages in Chinese",
        chinese,
        (("", ""), ("Field required. ", "")),
        (*UNITS, "Field required. ", "is of at ", " (got x"),
        most=2000,
    )
    yield Reader("a page in Chinese", page, (("", ""),), (*UNITS, "。 ", "。", "（", "。\n"))
    yield Reader("cell of a CSV export", csv_files.escape_formula, (("=", ""), ("-", "x"), ("+1", "x")))
    yield Reader("command on a page", wrap_words)
    yield Reader(
        "MLflow source",
        lambda text: (artifact_location.LOGGED_MODEL_PATH.search(text), artifact_location.RUN_PATH.search(text)),
        (("", ""), ("runs:/", "")),
        (*UNITS, f"/{'0' * 32}", f"/m-{'0' * 32}", f"/{'0' * 32}/artifacts\n"),
    )


def card_of(card_blocks: Any) -> Callable[[str], object]:
    def read(text: str) -> object:
        blocks = [card_blocks.Text(text), card_blocks.Code(text)]
        document = card_blocks.Document(text[:100], text, [card_blocks.Section("a", blocks)])
        return card_blocks.markdown(document), card_blocks.html(document, "")

    return read


def readers_of_the_engine() -> Iterator[Reader]:
    from deepseek.clean import expression, personal_data
    from deepseek.collect import extract, hosts, urls
    from deepseek.evaluate import predictions
    from deepseek.tables import json_lines
    from workers.relay import Relay

    def lines(text: str) -> object:
        data = text.encode()
        json_lines.refuse_deep_nesting(data, 1)
        return json_lines.count_keys(data, (), 1), list(json_lines.cut_lines(data, 1))

    def prints(text: str) -> object:
        relay = object.__new__(Relay)
        relay._prints, relay.log = b"", lambda *_about: None  # type: ignore[method-assign]
        data = text.encode()
        return [relay.take_prints(data[at : at + 65_536]) for at in range(0, len(data), 65_536)]

    json_units = (*UNITS, '{"a":1}\n', '{"a', '"a":', '\\"', "[[", '{"a":')
    yield Reader("JSON lines", lines, (("", ""), ('{"a":"', '"}\n'), ('{"', "")), json_units)
    yield Reader("lines that an engine prints", prints)
    yield Reader("expression of a plan", expression.parse_expression, (("", ""), ("a + ", "$"), ("1", "$")))
    yield Reader("number on a page", extract.parse_number, (("", ""), ("a", "x")), (*UNITS, "1 000", " 000", ",000"))
    yield Reader("date on a page", lambda text: extract.DATE.search(text), (("", ""), ("2024", ""), ("2024-1-1", "")))
    yield Reader("link on a page", lambda text: urls.SPACE.sub("", text))
    yield Reader(
        "host of a list",
        lambda text: [form.fullmatch(text) for form in (hosts.NAME, hosts.BRACKETED, hosts.PLAIN)],
        (("", ""),),
        (*UNITS, "a.", "a-"),
    )
    yield Reader(
        "personal data",
        lambda text: [
            list(form.finditer(text))
            for form in (personal_data.ID_CARD, personal_data.PHONE, personal_data.BANK_CARD, personal_data.NAME)
        ],
        (("", ""),),
        (*UNITS, "6222 ", "138", "王", "86-"),
    )
    yield Reader("prediction", lambda text: predictions.WHOLE.fullmatch(text), (("", ""), ("1", "x"), ("1.", "x")))


def main(parts: list[str]) -> int:
    bad = 0
    gc.disable()  # it walks all objects there are, now and then, which no text is to blame for
    print("| reader | unit | characters | ms | of half as many | growth |\n|---|---|---|---|---|---|")
    for reader in readers():
        if parts and not any(part.lower() in reader.name.lower() for part in parts):
            continue
        try:
            found = worst(reader)
        except GivenUp:
            print(f"| {reader.name} | | | more than {GIVEN_UP_SECONDS} s | | **given up** |", flush=True)
            bad += 1
            continue
        slowest = found.times[-1][1]
        is_bad = slowest > BOUNDED_SECONDS if reader.bounded else found.growth > FACTOR
        bad += is_bad
        (size, taken), half = found.times[-1], found.times[-2][1] if len(found.times) > 1 else 0
        growth = f"{found.growth:.1f}" if found.growth > 1 else "too fast to tell"
        growth = f"**{growth}**" if is_bad else f"{growth}; bounded" if reader.bounded else growth
        unit = json.dumps(found.unit, ensure_ascii=False).replace("|", "\\|")
        print(
            f"| {reader.name} | `{unit}` | {size:,} | {taken * 1000:.1f} | {half * 1000:.1f} | {growth} |", flush=True
        )
    print(f"\n{bad} worse than linear" if bad else "\nAll linear.")
    return 1 if bad else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ.setdefault("PLANE_HOME", home)
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
        sys.path.insert(0, str(ROOT))
        import django

        django.setup()
        sys.exit(main(sys.argv[1:]))
