"""Mutation sampling: change the product at random places, one at a time, and count how many changes a test notices.

    python -m tests.mutation_sample --seed 14 --count 300 --out before.json
    python -m tests.mutation_sample --seed 14 --count 300 --out after.json --after before.json

The same seed and the same sources give the same mutants, whatever the tests are. `--after` takes the mutants of an
earlier run, finds them in the present tree and tries the test that noticed each of them first.

A server process imports the third-party libraries once and forks for each mutant. Every fork has a mount namespace of
its own, in which the mutated file covers the original: child processes of the tests read it as well, and the working
tree never changes. It has a PID namespace too, so that nothing outlives it. Both need root and Linux.
"""

from __future__ import annotations

import argparse
import ast
import ctypes
import gc
import glob
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

PACKAGE_TESTS = {
    "apps/accounts": ["tests/apps/accounts"],
    "apps/approvals": ["tests/apps/approvals"],
    "apps/artifacts": ["tests/apps/artifacts"],
    "apps/audit": ["tests/apps/audit"],
    "apps/jobs": ["tests/apps/jobs"],
    "apps/policy.py": ["tests/apps/test_policy.py", "tests/apps/accounts"],
    "apps/registry": ["tests/apps/registry"],
    "deepseek/clean": ["tests/deepseek/clean", "tests/deepseek/test_cli*.py"],
    "deepseek/evaluate": ["tests/deepseek/evaluate", "tests/deepseek/test_cli*.py"],
    "deepseek/train": ["tests/deepseek/train", "tests/deepseek/test_cli*.py"],
    "workers": ["tests/workers"],
}
"""What is mutated, and the tests of each package."""

OTHER_TESTS = ("tests/apps/", "tests/controlplane/", "tests/deepseek/", "tests/workers/")
"""Where a line's tests may be when those of its package never run it."""

PRELOADED = (
    "_pytest.assertion.rewrite allauth allauth.account amqp anyio.pytest_plugin asyncio celery celery.app.task "
    "concurrent.futures cryptography.fernet cryptography.hazmat.primitives.asymmetric.ed25519 "
    "django.core.management django.db.models django.forms django.template.loader django.test django.test.client "
    "django.urls django_htmx drf_spectacular fido2 http.server hypothesis hypothesis.strategies jinja2 "
    "kombu.transport.filesystem markdown_it multiprocessing.pool numpy numpy.testing pandas pandera.pandas "
    "playwright.sync_api prometheus_client psutil psycopg pyarrow pyarrow.compute pyarrow.csv pyarrow.dataset "
    "pyarrow.json pyarrow.parquet pydantic pydantic_settings pygments pytest_base_url.plugin pytest_django.plugin "
    "pytest_playwright pytest_randomly pytest_socket pytest_timeout requests rest_framework rest_framework.fields "
    "safetensors.torch scipy.stats sqlite3 sqlparse statistics torch torch.nn torch.optim torch.utils.data "
    "typeguard unittest.mock uritemplate urllib3 vine wsgiref.simple_server xdist.plugin xml.etree.ElementTree yaml "
    "zoneinfo "
)
"""Imported before the first fork, those that are there; none may import the project or read Django's settings."""

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
NO_TESTS = 5  # pytest's exit code
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
TRANSLATIONS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy", "pgettext"}
DESCRIPTIONS = {"description", "help", "help_text", "label", "operation_id", "summary", "title", "verbose_name"}
UNCHANGED_FUNCTIONS = {"__str__", "__repr__"}

# Linux: <linux/sched.h>, <sys/mount.h>, <sys/prctl.h>
CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1


# -- mutants -----------------------------------------------------------------------------------------------------------


@dataclass
class Mutant:
    """One change of one file. `first_line` to `last_line` are the lines that a test must run to meet it."""

    file: str
    line: int
    column: int
    operator: str
    original: str
    replacement: str
    function: str  # dotted name of the enclosing function or class; empty at module level
    in_function: bool
    first_line: int
    last_line: int
    span: tuple[int, int] = field(repr=False)  # bytes of the file that `text` replaces
    text: str = field(repr=False)

    @property
    def id(self) -> str:
        return f"{self.file}:{self.line}:{self.column}:{self.operator}"

    @property
    def key(self) -> tuple[str, ...]:
        """What stays the same when lines move."""
        return self.file, self.operator, self.original, self.replacement

    def apply_to(self, source: bytes) -> bytes:
        start, end = self.span
        return source[:start] + self.text.encode() + source[end:]


class MutantFinder(ast.NodeVisitor):
    """Collects every mutant of one file."""

    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source = file, source
        self.offsets = [0]
        for line in source.splitlines(keepends=True):
            self.offsets.append(self.offsets[-1] + len(line))
        self.mutants: list[Mutant] = []
        self.names: list[str] = []
        self.function_depth = 0
        self.statement: ast.stmt | None = None

    def find(self) -> list[Mutant]:
        self.visit(ast.parse(self.source))
        return self.mutants

    # What is visited

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            outer, self.statement = self.statement, node
            super().visit(node)
            self.statement = outer
        else:
            super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.visit_decorator(decorator)
        if node.name in UNCHANGED_FUNCTIONS:
            return
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        self.names.append(node.name)
        self.function_depth += 1
        self.visit_body(node.body)
        self.function_depth -= 1
        self.names.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            self.visit_decorator(decorator)
        self.names.append(node.name)
        self.visit_body(node.body)
        self.names.pop()

    def visit_decorator(self, node: ast.expr) -> None:
        if not re.search("dataclass|schema", ast.unparse(node).partition("(")[0]):
            self.visit(node)

    def visit_body(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        is_export_list = any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
        if not is_export_list:
            self.visit(node.value)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        pass

    visit_ImportFrom = visit_Import

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        pass  # Python 3.11 knows no position within an f-string

    # What is changed

    def visit_Compare(self, node: ast.Compare) -> None:
        for index, comparison in enumerate(node.ops):
            operators = [*node.ops]
            operators[index] = COMPARISONS[type(comparison)]()
            self.add_expression("comparison", node, ast.Compare(node.left, operators, node.comparators))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self.add_expression("and-or", node, ast.BoolOp(other, node.values))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self.add_expression("not", node, node.operand)
        elif isinstance(node.op, ast.USub):
            self.add_expression("minus", node, node.operand)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        other = ARITHMETIC.get(type(node.op))
        if other and not any(_is_text(side) or _is_type(side) for side in (node.left, node.right)):
            self.add_expression("arithmetic", node, ast.BinOp(node.left, other(), node.right))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        other = ARITHMETIC.get(type(node.op))
        if other and not _is_text(node.value):
            self.add_statement("arithmetic", node, ast.unparse(ast.AugAssign(node.target, other(), node.value)))
        self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.add_expression("constant", node, ast.Constant(not value))
        elif isinstance(value, int | float):
            self.add_expression("constant", node, ast.Constant(value + 1))
        elif isinstance(value, str) and value and not re.search(r"\s", value):  # a sentence is for people
            self.add_expression("constant", node, ast.Constant(""))

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self.add_expression("return", node.value, ast.Constant(None))
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant) or _is_log_call(node.value):
            return
        if isinstance(node.value, ast.Call):
            self.add_statement("delete-call", node, "pass")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        if node.exc is not None:
            self.add_statement("delete-raise", node, "pass")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        condition = ast.unparse(node.test)
        if condition == "TYPE_CHECKING" or condition.startswith("__name__"):
            return
        self.add_condition(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.add_condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.add_condition(test)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        text = "pass" if any(isinstance(inner, ast.Raise) for inner in ast.walk(node)) else "raise"
        first, last = node.body[0], node.body[-1]
        if ast.unparse(node.body) != text:
            self.add("except-body", first, last, text, lines=(node.lineno, last.end_lineno or last.lineno))
        self.visit_body(node.body)

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func)
        if name in TRANSLATIONS or _is_log_call(node) or re.fullmatch(r"models\.\w+(Field|Key)", name):
            return
        for keyword in node.keywords:
            if keyword.arg is not None and keyword.arg not in DESCRIPTIONS:
                keywords = [other for other in node.keywords if other is not keyword]
                changed = ast.Call(node.func, node.args, keywords)
                self.add("keyword", node, node, f"({ast.unparse(changed)})", shown=keyword)
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in DESCRIPTIONS:
            self.visit(node.value)

    # How it is recorded

    def add_condition(self, test: ast.expr) -> None:
        for value in (True, False):
            self.add_expression(f"condition-{value}".lower(), test, ast.Constant(value))

    def add_expression(self, operator: str, node: ast.expr, changed: ast.expr) -> None:
        text = ast.unparse(ast.fix_missing_locations(ast.Expression(changed)))
        self.add(operator, node, node, text if isinstance(changed, ast.Constant) else f"({text})")

    def add_statement(self, operator: str, node: ast.stmt, text: str) -> None:
        self.add(operator, node, node, text)

    def add(
        self,
        operator: str,
        first: ast.expr | ast.stmt,
        last: ast.expr | ast.stmt,
        text: str,
        *,
        shown: ast.keyword | None = None,
        lines: tuple[int, int] | None = None,
    ) -> None:
        """Record the replacement of everything from the start of `first` to the end of `last` by `text`."""
        place = shown or first
        span = (
            self.offsets[first.lineno - 1] + first.col_offset,
            self.offsets[(last.end_lineno or 0) - 1] + (last.end_col_offset or 0),
        )
        if lines is None:
            lines = (self.statement or first).lineno, last.end_lineno or last.lineno
            if isinstance(self.statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                lines = first.lineno, lines[1]  # a decorator or a default
        original = ast.unparse(shown) if shown else self.source[slice(*span)].decode()
        self.mutants.append(
            Mutant(
                file=self.file,
                line=place.lineno,
                column=place.col_offset,
                operator=operator,
                original=_shorten(original),
                replacement="" if shown else _shorten(text),
                function=".".join(self.names),
                in_function=self.function_depth > 0,
                first_line=lines[0],
                last_line=lines[1],
                span=span,
                text=text,
            )
        )


def _shorten(text: str) -> str:
    return " ".join(text.split())[:200]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_type(node: ast.expr) -> bool:
    return (isinstance(node, ast.Constant) and node.value is None) or (
        isinstance(node, ast.Name) and node.id in {"bool", "bytes", "dict", "float", "int", "list", "str"}
    )


def _is_log_call(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LOG_METHODS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"log", "logger", "logging"}
    )


def get_package(file: str) -> str:
    return next(package for package in PACKAGE_TESTS if file == package or file.startswith(package + "/"))


def list_sources(tree: Path) -> list[str]:
    """The product files that are mutated, relative to the tree."""
    files = set()
    for package in PACKAGE_TESTS:
        path = tree / package
        found = [path] if path.is_file() else path.rglob("*.py")
        files |= {str(each.relative_to(tree)) for each in found if "migrations" not in each.parts}
    return sorted(files)


def draw_mutants(tree: Path, seed: int, count: int, package: str = "") -> list[Mutant]:
    """At most one mutant per line: any line that can be mutated is as likely as any other."""
    by_line: dict[tuple[str, int], list[Mutant]] = defaultdict(list)
    for file in list_sources(tree):
        if package and get_package(file) != package:
            continue
        for mutant in MutantFinder(file, (tree / file).read_bytes()).find():
            by_line[file, mutant.line].append(mutant)
    generator = random.Random(seed)
    places = sorted(by_line)
    generator.shuffle(places)
    drawn = []
    for place in places:
        mutant = generator.choice(by_line[place])
        if len(drawn) < count and _is_real_change(tree, mutant):
            drawn.append(mutant)
    return drawn


def _is_real_change(tree: Path, mutant: Mutant) -> bool:
    source = (tree / mutant.file).read_bytes()
    try:
        changed = ast.parse(mutant.apply_to(source))
        compile(changed, mutant.file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return ast.dump(changed) != ast.dump(ast.parse(source))


def locate_mutants(tree: Path, records: list[dict]) -> list[Mutant | None]:
    """The mutants of an earlier run in this tree; None where the code they changed is gone."""
    candidates: dict[tuple[str, ...], list[Mutant]] = defaultdict(list)
    for file in {record["file"] for record in records}:
        if (tree / file).is_file():
            for mutant in MutantFinder(file, (tree / file).read_bytes()).find():
                candidates[mutant.key].append(mutant)

    def find_nearest(record: dict) -> Mutant | None:
        key = record["file"], record["operator"], record["original"], record["replacement"]
        return min(
            candidates[key],
            key=lambda mutant: (
                mutant.function != record["function"],
                abs(mutant.line - record["line"]),
                abs(mutant.column - record["column"]),
            ),
            default=None,
        )

    return [find_nearest(record) for record in records]


# -- which tests -------------------------------------------------------------------------------------------------------


def strip_group(nodeid: str) -> str:
    """The node id without the group that xdist appends (`--dist=loadgroup`)."""
    head, mark, tail = nodeid.rpartition("@")
    return head if mark and re.fullmatch(r"[\w-]+", tail) and "]" not in tail else nodeid


def load_times(pattern: str) -> dict[str, float]:
    """Processor seconds per test, from files of JSON lines with `id` and `cpu`."""
    times: dict[str, float] = {}
    for path in glob.glob(pattern) if pattern else []:
        for line in Path(path).read_text().splitlines():
            with suppress(ValueError, KeyError):
                record = json.loads(line)
                nodeid = strip_group(record["id"])
                times[nodeid] = max(times.get(nodeid, 0.0), record["cpu"])
    return times


class LineContexts:
    """Which tests ran which lines, from coverage data files that were recorded with one context per test."""

    def __init__(self, pattern: str, files: set[str]) -> None:
        self.tests: dict[str, dict[int, set[str]]] = {file: defaultdict(set) for file in files}
        self.without_test: dict[str, set[int]] = {file: set() for file in files}
        self.is_empty = True
        for path in sorted(glob.glob(pattern)) if pattern else []:
            with suppress(sqlite3.DatabaseError):
                self._load(path)

    def _load(self, path: str) -> None:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as data:
            contexts = {number: strip_group(name) for number, name in data.execute("SELECT id, context FROM context")}
            names = dict(data.execute("SELECT path, id FROM file"))
            for file in self.tests:
                number = next((names[name] for name in names if name.endswith("/" + file)), None)
                arcs = data.execute("SELECT context_id, fromno, tono FROM arc WHERE file_id = ?", [number])
                for context, *lines in arcs:
                    self._add(file, contexts[context], lines)

    def _add(self, file: str, test: str, lines: list[int]) -> None:
        self.is_empty = False
        for line in lines:
            if line > 0 and test:
                self.tests[file][line].add(test)
            elif line > 0:
                self.without_test[file].add(line)

    def tests_of_lines(self, file: str, first: int, last: int) -> set[str]:
        return set().union(*(self.tests[file].get(line, set()) for line in range(first, last + 1)))

    def tests_of_file(self, file: str) -> set[str]:
        return set().union(*self.tests[file].values())

    def has_untested_run(self, mutant: Mutant) -> bool:
        """Whether the lines ran outside of every test: at import or in a child process."""
        lines = range(mutant.first_line, mutant.last_line + 1)
        return not self.without_test[mutant.file].isdisjoint(lines)


@dataclass
class Selection:
    """The tests of one mutant. `order` None: everything below `paths` as it is collected."""

    paths: list[str]
    order: list[str] | None = None
    first: str = ""
    expected: float = 0.0
    left_out: int = 0


class Selector:
    def __init__(self, tree: Path, contexts: LineContexts, times: dict[str, float], budget: float) -> None:
        self.tree, self.contexts, self.times, self.budget = tree, contexts, times, budget
        self.failing: set[str] = set()

    def select(self, mutant: Mutant) -> Selection:
        paths = self.expand(PACKAGE_TESTS[get_package(mutant.file)])
        if self.contexts.is_empty:
            return Selection(paths, expected=self.budget)
        covering = self.contexts.tests_of_lines(mutant.file, mutant.first_line, mutant.last_line)
        own = {test for test in covering if _is_below(test, paths)}
        if mutant.in_function and covering:
            other = {test for test in covering if test.startswith(OTHER_TESTS)}
            return self.order(own or other)
        if not mutant.in_function or self.contexts.has_untested_run(mutant):
            touching = {test for test in self.contexts.tests_of_file(mutant.file) if _is_below(test, paths)}
            rest = {test for test in self.times if _is_below(test, paths)} - touching - own
            return self.order(own, touching - own, rest)
        return self.order(set())

    def order(self, *groups: set[str]) -> Selection:
        """File by file, for the sake of their fixtures; files with quick tests first, and so within a file."""
        ordered: list[str] = []
        for group in groups:
            files: dict[str, list[str]] = defaultdict(list)
            for test in group - self.failing:
                file = test.split("::")[0]
                if (self.tree / file).is_file():
                    files[file].append(test)
            quickest = sorted(files.values(), key=lambda tests: (sum(map(self.get_time, tests)) / len(tests), tests[0]))
            for tests in quickest:
                ordered += sorted(tests, key=lambda test: (self.get_time(test), test))
        chosen, expected = [], 0.0
        for test in ordered:
            expected += self.get_time(test)
            if chosen and expected > self.budget:
                break
            chosen.append(test)
        paths = list(dict.fromkeys(test.split("::")[0] for test in chosen))
        return Selection(paths, chosen, expected=min(expected, self.budget), left_out=len(ordered) - len(chosen))

    def get_time(self, test: str) -> float:
        return self.times.get(test, 0.05)

    def expand(self, paths: list[str]) -> list[str]:
        found = [sorted(self.tree.glob(path)) for path in paths]
        return [str(path.relative_to(self.tree)) for matches in found for path in matches]


def _is_below(test: str, paths: list[str]) -> bool:
    file = test.split("::")[0]
    return any(file == path or file.startswith(path + "/") for path in paths)


# -- one run -----------------------------------------------------------------------------------------------------------


class SelectionPlugin:
    """Keeps and orders the selected tests, and remembers the first that failed."""

    def __init__(self, selection: Selection, failing: set[str]) -> None:
        self.selection, self.dropped = selection, failing
        self.failed: list[str] = []
        self.reason = ""
        self.ran = 0

    def pytest_collection_modifyitems(self, session, config, items: list) -> None:
        selected = [item for item in items if item.nodeid not in self.dropped]
        if self.selection.order is not None:
            ranks = {test: rank for rank, test in enumerate(self.selection.order)}
            selected = [item for item in selected if item.nodeid in ranks]
            selected.sort(key=lambda item: ranks[item.nodeid])
        if self.selection.first:
            first = self.selection.first
            selected.sort(key=lambda item: (item.nodeid != first, item.nodeid.split("[")[0] != first.split("[")[0]))
        config.hook.pytest_deselected(items=[item for item in items if item not in set(selected)])
        items[:] = selected

    def pytest_runtest_logreport(self, report) -> None:
        self.ran += report.when == "call"
        if report.failed:
            self.record_failure(report.nodeid, report)

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            self.record_failure(f"collection of {report.nodeid or 'tests'}", report)

    def record_failure(self, name: str, report) -> None:
        if name not in self.failed:
            self.failed.append(name)
        if not self.reason:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.reason = (crash.message if crash else str(report.longrepr))[-300:]


@dataclass
class Limits:
    cpu: float = 150
    """Processor seconds of pytest and all below it."""
    idle: float = 90
    """Seconds in which they used less than one processor second: they wait for something that never comes."""


class IdleClock:
    """Looks every few seconds at what a process and all below it have used: other load must not make a timeout."""

    INTERVAL = 5

    def __init__(self, pid: int) -> None:
        self.pid, self.used, self.progress = pid, 0.0, 0.0
        self.next_look = time.monotonic() + self.INTERVAL
        self.progressed_at = time.monotonic()

    def is_over(self, limits: Limits) -> bool:
        now = time.monotonic()
        if now < self.next_look:
            return False
        self.next_look = now + self.INTERVAL
        self.used = measure_tree(self.pid)
        if self.used > self.progress + 1:
            self.progress, self.progressed_at = self.used, now
        return self.used > limits.cpu or now - self.progressed_at > limits.idle


def measure_tree(root: int) -> float:
    """Processor seconds of a living process and its descendants, those included that were waited for."""
    parents, ticks = {}, {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            parents[int(name)], ticks[int(name)] = int(fields[1]), sum(map(int, fields[11:15]))

    def is_below(pid: int) -> bool:
        while pid not in (root, 0):
            pid = parents.get(pid, 0)
        return pid == root

    return sum(used for pid, used in ticks.items() if is_below(pid)) / os.sysconf("SC_CLK_TCK")


def run_tests(selection: Selection, failing: set[str], folder: Path, *, keep_going: bool = False) -> dict:
    """Run pytest in this process, which is to end afterwards."""
    import pytest

    plugin = SelectionPlugin(selection, failing)
    options = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-n0", "--hypothesis-seed=0", "--tb=short"]
    options += [f"--basetemp={folder / 't'}", *([] if keep_going else ["-x"]), *selection.paths]
    code = int(pytest.main(options, plugins=[plugin]))
    return {"code": code, "failed": plugin.failed, "reason": plugin.reason, "ran": plugin.ran}


class Libc:
    def __init__(self) -> None:
        self.library = ctypes.CDLL(None, use_errno=True)

    def check(self, result: int, name: str) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")

    def unshare(self, flags: int) -> None:
        self.check(self.library.unshare(flags), "unshare")

    def mount(self, source: str, target: str, kind: str | None, flags: int) -> None:
        encoded = (source.encode(), target.encode(), kind.encode() if kind else None)
        self.check(self.library.mount(*encoded, ctypes.c_ulong(flags), None), f"mount {target}")

    def bind(self, source: Path, target: Path) -> None:
        self.mount(str(source), str(target), None, MS_BIND)

    def die_with_parent(self) -> None:
        self.check(self.library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")


class Server:
    """Forks one supervised pytest per mutant from a process that has the libraries loaded."""

    def __init__(self, tree: Path, work: Path) -> None:
        self.tree, self.work, self.libc = tree, work, Libc()
        self.number = 0
        self.template_home = work / "home"
        self.template_home.mkdir()

    def preload(self) -> None:
        for name in PRELOADED.split():
            with suppress(Exception):
                importlib.import_module(name)
        with suppress(Exception):
            importlib.import_module("hypothesis.internal.charmap").charmap()
        gc.collect()
        gc.freeze()

    def start(
        self, mutant: Mutant | None, selection: Selection, failing: set[str], limits: Limits, **options: bool
    ) -> tuple[int, Path]:
        """Fork; returns the process id of the supervisor and the folder where `outcome.json` will be."""
        self.number += 1
        folder = self.work / str(self.number)
        folder.mkdir()
        pid = os.fork()
        if pid:
            return pid, folder
        status = 1
        try:
            self.libc.die_with_parent()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self.supervise(mutant, selection, failing, limits, folder, options)
            status = 0
        except BaseException as failure:
            (folder / "outcome.json").write_text(json.dumps({"error": repr(failure)}))
        finally:
            os._exit(status)

    def supervise(self, mutant, selection, failing, limits: Limits, folder: Path, options: dict) -> None:
        """Wait for the namespace's first process; end it, and with it all others, at a limit."""
        self.libc.unshare(CLONE_NEWPID)  # of the children to come
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            try:
                self.run_in_namespace(mutant, selection, failing, folder, options)
            except BaseException as failure:
                (folder / "result.json").write_text(json.dumps({"error": repr(failure)}))
            finally:
                os._exit(0)
        clock, done = IdleClock(pid), 0
        while not done:
            done, _ = os.waitpid(pid, os.WNOHANG)
            if not done and clock.is_over(limits):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                break
            time.sleep(0 if done else 0.02)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = folder / "result.json"
        outcome = json.loads(result.read_text()) if result.exists() else {}
        if not outcome.get("reason") and outcome.get("code", 0) not in (0, NO_TESTS):
            outcome["reason"] = (folder / "output.txt").read_text(errors="replace").strip()[-300:]
        outcome["timed_out"] = not done
        outcome["cpu"] = round(used.ru_utime + used.ru_stime if done else clock.used, 2)
        outcome["wall"] = round(time.monotonic() - started, 2)
        (folder / "outcome.json").write_text(json.dumps(outcome))

    def run_in_namespace(self, mutant, selection, failing, folder: Path, options: dict) -> None:
        """The first process of the namespace: mounts, forks pytest, collects orphans until it has ended."""
        self.libc.die_with_parent()
        self.libc.unshare(CLONE_NEWNS)
        self.libc.mount("none", "/", None, MS_REC | MS_PRIVATE)
        self.libc.mount("proc", "/proc", "proc", 0)
        if mutant is not None:
            self.cover(mutant, folder)
        main = os.fork()
        if main == 0:
            code = 1
            try:
                self.prepare(folder, is_template=options.get("is_template", False))
                outcome = run_tests(selection, failing, folder, keep_going=options.get("keep_going", False))
                (folder / "result.json").write_text(json.dumps(outcome))
                code = 0
            except BaseException as failure:
                (folder / "result.json").write_text(json.dumps({"code": 3, "reason": repr(failure)[-300:]}))
            finally:
                os._exit(code)
        ended = 0
        while ended != main:
            ended, status = os.wait()
        if not (folder / "result.json").exists():
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            (folder / "result.json").write_text(json.dumps({"code": 3, "signal": number, "reason": "pytest died"}))

    def cover(self, mutant: Mutant, folder: Path) -> None:
        """Put the mutated file, and a cache of byte code without it, over the tree's own."""
        path = self.tree / mutant.file
        changed = folder / path.name
        changed.write_bytes(mutant.apply_to(path.read_bytes()))
        cache = path.parent / "__pycache__"
        if cache.is_dir():
            own = folder / "pycache"
            shutil.copytree(cache, own, ignore=shutil.ignore_patterns(f"{path.stem}.*", "*.pyc.*"))
            self.libc.bind(own, cache)
        self.libc.bind(changed, path)

    def prepare(self, folder: Path, *, is_template: bool) -> None:
        """Give this process a home, an output, and the tree as the place of imports."""
        home = self.template_home if is_template else folder / "h"
        home.mkdir(exist_ok=True)
        if not is_template:
            for template in self.template_home.glob("test-template-*.sqlite3"):
                os.link(template, home / template.name)
        (folder / "tmp").mkdir()
        os.environ |= {
            "PLANE_HOME": str(home),
            "TMPDIR": str(folder / "tmp"),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
        }
        tempfile.tempdir = None
        output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        here = os.getcwd()
        os.chdir(self.tree)
        sys.path[:] = [str(self.tree), *(entry for entry in sys.path if entry not in ("", here, str(self.tree)))]
        sys.argv = ["pytest"]
        for name in [name for name in sys.modules if name == "tests" or name.startswith("tests.")]:
            del sys.modules[name]
        gc.enable()


# -- the sample --------------------------------------------------------------------------------------------------------


@dataclass
class Task:
    index: int
    mutant: Mutant
    selections: list[Selection]  # tried one after the other until a test fails
    left_out: int = 0
    cpu: float = 0.0
    ran: int = 0


class Sample:
    """Runs all mutants, a few at once, and writes what is known after each."""

    def __init__(self, server: Server, selector: Selector, arguments: argparse.Namespace) -> None:
        self.server, self.selector, self.arguments = server, selector, arguments
        self.records: list[dict] = []

    def run(self, tasks: list[Task]) -> None:
        waiting = list(reversed(tasks))
        running: dict[int, tuple[Task, Path]] = {}
        while waiting or running:
            while waiting and len(running) < self.arguments.jobs:
                task = waiting.pop()
                selection = task.selections.pop(0)
                task.left_out = selection.left_out
                if selection.paths:
                    whole_package = selection.order is None and not selection.first
                    limits = Limits(self.arguments.cpu_limit * (4 if whole_package else 1))
                    pid, folder = self.server.start(task.mutant, selection, self.selector.failing, limits)
                    running[pid] = task, folder
                else:
                    self.record(task, {"code": NO_TESTS})
            if running:
                pid, _ = os.wait()
                task, folder = running.pop(pid)
                outcome = read_outcome(folder)
                shutil.rmtree(folder, ignore_errors=True)
                task.cpu += outcome.get("cpu", 0.0)
                task.ran += outcome.get("ran", 0)
                if task.selections and judge(outcome) in ("survived", "no-tests"):
                    waiting.append(task)
                else:
                    self.record(task, outcome)

    def record(self, task: Task, outcome: dict) -> None:
        record = self.records[task.index]
        record |= {
            "status": judge(outcome),
            "killed_by": (outcome.get("failed") or ["start of pytest" if judge(outcome) == "killed" else ""])[0],
            "reason": outcome.get("reason", ""),
            "cpu": round(task.cpu, 2),
            "tests_run": task.ran,
            "tests_left_out": task.left_out,
        }
        done = sum("status" in each for each in self.records)
        print(
            f"{done}/{len(self.records)} {record['status']} {task.mutant.id} {record['cpu']} s {record['killed_by']}",
            flush=True,
        )
        self.write()

    def write(self) -> None:
        draft = Path(f"{self.arguments.out}.draft")
        draft.write_text(json.dumps({"totals": count_totals(self.records), "mutants": self.records}, indent=1))
        draft.replace(self.arguments.out)


def read_outcome(folder: Path) -> dict:
    path = folder / "outcome.json"
    outcome = json.loads(path.read_text()) if path.exists() else {"error": "the supervisor died"}
    if "error" in outcome:
        raise SystemExit(f"A run could not be started: {outcome['error']}")
    return outcome


def judge(outcome: dict) -> str:
    if outcome.get("timed_out"):
        return "timeout"
    return {0: "survived", NO_TESTS: "no-tests"}.get(outcome["code"], "killed")


def count_totals(records: list[dict]) -> dict[str, dict[str, int]]:
    totals: dict[str, Counter] = defaultdict(Counter)
    for record in records:
        for package in (get_package(record["file"]), "all"):
            totals[package][record.get("status", "not run")] += 1
    return {package: dict(sorted(counts.items())) for package, counts in sorted(totals.items())}


def select_after(selector: Selector, mutant: Mutant, record: dict) -> list[Selection]:
    """First the test that noticed the mutant before, with those of its file; then all."""
    everything = selector.select(mutant)
    former = record.get("killed_by", "").removeprefix("collection of ")
    file = former.split("::")[0]
    if not file or not (selector.tree / file).is_file():
        return [everything]
    return [Selection([file], first=former, expected=selector.budget), everything]


def make_template(server: Server) -> None:
    """Migrate the template of the test database once; the forks start from it."""
    tests = sorted(server.tree.glob("tests/apps/accounts/test_create_*.py"))
    selection = Selection([str(tests[0].relative_to(server.tree))], expected=60)
    pid, folder = server.start(None, selection, set(), Limits(), is_template=True)
    os.waitpid(pid, 0)
    outcome = read_outcome(folder)
    if outcome.get("code") != 0:
        sys.stderr.write((folder / "output.txt").read_text()[-3000:])
        raise SystemExit(f"The tests fail without a mutant: {outcome}")


def find_failing(sample: Sample, tests: set[str]) -> set[str]:
    """Those of the tests that fail without any mutant."""
    failing: set[str] = set()
    by_folder: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests):
        by_folder[str(Path(test.split("::")[0]).parent)].append(test)
    for group in by_folder.values():
        paths = list(dict.fromkeys(test.split("::")[0] for test in group))
        selection = Selection(paths, order=group, expected=600)
        pid, folder = sample.server.start(None, selection, set(), Limits(cpu=1000), keep_going=True)
        os.waitpid(pid, 0)
        failing |= set(read_outcome(folder).get("failed", []))
    return failing & tests


def repeat_without_failing(sample: Sample, mutants: list[Mutant | None]) -> None:
    """Run those mutants again that only a test noticed which fails without a mutant, too."""
    killers = {record["killed_by"] for record in sample.records if record.get("status") == "killed"}
    failing = find_failing(sample, {test for test in killers if "::" in test})
    if failing:
        print(f"fail without a mutant, left out: {sorted(failing)}")
        sample.selector.failing |= failing
        tasks = [
            Task(index, mutant, [sample.selector.select(mutant)])
            for index, (record, mutant) in enumerate(zip(sample.records, mutants, strict=True))
            if mutant is not None and record["killed_by"] in failing
        ]
        for task in tasks:
            del sample.records[task.index]["status"]
        sample.run(tasks)


def print_summary(records: list[dict], before: list[dict] | None) -> None:
    for package, counts in count_totals(records).items():
        noticed, total = counts.get("killed", 0) + counts.get("timeout", 0), sum(counts.values())
        print(f"{package:20} {noticed:4} of {total:4} {noticed / total:7.1%}  {counts}")
    former = {record["id"]: record.get("status") for record in before or []}
    for record in records:
        if record.get("status") in ("survived", "no-tests") and former.get(record["id"]) in ("killed", "timeout"):
            print(f"noticed before, not now: {record['id']} {record['original']!r} -> {record['replacement']!r}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--out", required=True, help="JSON file of the result, written anew after each mutant")
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[1], help="repository that is mutated")
    parser.add_argument("--package", default="", choices=["", *PACKAGE_TESTS], help="draw from this one alone")
    parser.add_argument("--after", type=Path, help="result of an earlier run, whose mutants are taken")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at once")
    parser.add_argument("--contexts", default="", help="pattern of coverage data files with one context per test")
    parser.add_argument("--times", default="", help="pattern of files with one JSON line per test: id, cpu")
    parser.add_argument("--budget", type=float, default=60, help="processor seconds of tests selected per mutant")
    parser.add_argument("--cpu-limit", type=float, default=150, help="processor seconds before a run is a timeout")
    parser.add_argument("--resume", action="store_true", help="keep what an interrupted run has written to --out")
    parser.add_argument("--list", action="store_true", help="draw and select, but run nothing")
    return parser.parse_args()


def plan(sample: Sample, mutants: list[Mutant | None], before: list[dict] | None) -> list[Task]:
    """One record per mutant, and one task for each that is still to be run."""
    out = Path(sample.arguments.out)
    written = json.loads(out.read_text())["mutants"] if sample.arguments.resume and out.exists() else []
    finished = {record["id"]: record for record in written if "status" in record}
    tasks = []
    for index, mutant in enumerate(mutants):
        former = before[index] if before else {}
        if mutant is None:
            sample.records.append(former | {"status": "gone", "killed_by": ""})
            continue
        record = {"id": former.get("id", mutant.id)} | asdict(mutant)
        del record["span"], record["text"]
        sample.records.append(finished.get(record["id"], record))
        if record["id"] not in finished:
            selections = select_after(sample.selector, mutant, former) if before else [sample.selector.select(mutant)]
            tasks.append(Task(index, mutant, selections))
    if before:  # what survived before is run in full: last
        tasks.sort(key=lambda task: before[task.index].get("status") not in ("killed", "timeout"))
    return tasks


def print_plan(tasks: list[Task]) -> None:
    for task in tasks:
        mutant, chosen = task.mutant, task.selections[-1]
        count = "all" if chosen.order is None else len(chosen.order)
        print(f"{mutant.id} {mutant.original!r} -> {mutant.replacement!r}")
        print(f"    {count} tests, {chosen.expected:.1f} s, {chosen.left_out} left out")


def main() -> None:
    arguments = parse_arguments()
    tree = arguments.tree.resolve()
    before = json.loads(arguments.after.read_text())["mutants"] if arguments.after else None
    if before is None:
        mutants: list[Mutant | None] = draw_mutants(tree, arguments.seed, arguments.count, arguments.package)
    else:
        mutants = locate_mutants(tree, before)
    contexts = LineContexts(arguments.contexts, {mutant.file for mutant in mutants if mutant is not None})
    selector = Selector(tree, contexts, load_times(arguments.times), arguments.budget)
    print(f"{len(mutants)} mutants, {len(selector.times)} times, contexts: {not contexts.is_empty}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mut-") as work:
        sample = Sample(Server(tree, Path(work)), selector, arguments)
        tasks = plan(sample, mutants, before)
        if arguments.list:
            print_plan(tasks)
            return
        sample.server.preload()
        make_template(sample.server)
        sample.run(tasks)
        repeat_without_failing(sample, mutants)
        sample.write()
    print_summary(sample.records, before)


if __name__ == "__main__":
    if os.geteuid() != 0:
        raise SystemExit("Mount namespaces need root.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # removes the temporary folder
    main()
