"""Whether a backtracking matcher can need more than linear time for a pattern, found without running it.

The pattern, as `re` parses it, becomes a position automaton (Glushkov): one state per character that the pattern may
take, and an edge where one may follow the other. Then, after Weber and Seidl ("On the degree of ambiguity of finite
automata", 1991):

- exponential: some text leads from a state back to itself in two ways, as in (a+)+b;
- polynomial: some text leads from p to p, from p to q and from q to q, with p other than q, as in \\d+\\.?\\d*x.

A search tries every place of the text, which is one more loop in front of the pattern: \\s+$ is linear as a match and
quadratic as a search. A state in which the match has succeeded already costs nothing more and does not count.

What is followed exactly: sets, categories, anchors, word boundaries, look-around of one character, possessive loops
over one character. Longer look-ahead counts as one more way into its body. A counted repeat up to `COUNTED` times
is no loop for the polynomial test, and is one for the exponential test.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

COUNTED = 256  # a repeat with a larger limit is as good as one without
COPIES = 2  # of the body of a counted repeat, of its obligatory and of its optional part: neighbours are what matters
FURTHER = "é中٣５\u3000\u2028\xa0…"  # letters, digits and blanks outside of ASCII
POSITIONS = 700


class Method(StrEnum):
    """How a pattern is used. `sub`, `split`, `findall` and `finditer` search."""

    MATCH = "match"
    FULLMATCH = "fullmatch"
    SEARCH = "search"


class Growth(StrEnum):
    EXPONENTIAL = "exponential"
    POLYNOMIAL = "polynomial"


class Finding(NamedTuple):
    growth: Growth
    pump: str  # a text that, repeated, makes the matcher try more and more ways


class TooLarge(ValueError):
    """The pattern has more positions than are looked at."""


class Guard(NamedTuple):
    """What the character before and the one behind an empty step must be, as bit sets."""

    before: int
    behind: int

    def __and__(self, other: Guard) -> Guard:  # type: ignore[override]
        return Guard(self.before & other.before, self.behind & other.behind)


@dataclass
class Fragment:
    """A part of the pattern: how it may be skipped, what it may begin with, and what it may end with."""

    empty: list[Guard] = field(default_factory=list)
    first: list[tuple[Guard, int]] = field(default_factory=list)
    last: list[tuple[int, Guard]] = field(default_factory=list)


def find_ambiguity(pattern: str | bytes, flags: int = 0, method: Method = Method.SEARCH) -> Finding | None:
    """The worst that a hostile text can do to the pattern; None if its time is linear. Raises re.error, TooLarge."""
    tree = parser.parse(pattern, flags)
    for counted, search, growth in (
        (False, find_exponential, Growth.EXPONENTIAL),
        (True, find_polynomial, Growth.POLYNOMIAL),
    ):
        pump = search(Automaton(pattern, tree, method, counted=counted))
        if pump is not None:
            return Finding(growth, pump)
    return None


# -- characters ----------------------------------------------------------------------------------------------------
class Alphabet:
    """One character for each kind that the pattern can tell apart, and two marks: no character before, none behind."""

    def __init__(self, pattern: str | bytes) -> None:
        if isinstance(pattern, bytes):
            self.letters = [chr(code) for code in range(256)]
        else:
            near = {chr(min(ord(one) + step, 0x10FFFF)) for one in pattern if ord(one) > 127 for step in (-1, 0, 1)}
            self.letters = [*map(chr, range(128)), *sorted(near | set(FURTHER))]
        self.start, self.end = 1 << len(self.letters), 2 << len(self.letters)
        self.every = self.start - 1
        self.always = Guard(self.every | self.start, self.every | self.end)

    def where(self, test: Callable[[str], bool]) -> int:
        return sum(1 << place for place, letter in enumerate(self.letters) if test(letter))

    def category(self, name: Any, flags: int) -> int:
        text = str(name).removeprefix("CATEGORY_").lower()
        kind = text.removeprefix("not_")
        ascii_only = bool(flags & re.ASCII) or not flags & re.UNICODE
        tests: dict[str, Callable[[str], bool]] = {
            "digit": str.isdecimal,
            "space": str.isspace,
            "word": lambda letter: letter.isalnum() or letter == "_",
        }
        found = self.where(lambda letter: tests[kind](letter) and (letter.isascii() or not ascii_only))
        return self.every & ~found if text != kind else found

    def find_letters(self, op: Any, value: Any, flags: int) -> int | None:
        """The set that takes exactly one character; None for anything else."""
        if op is c.LITERAL:
            return self.literal(value, flags)
        if op is c.NOT_LITERAL:
            return self.every & ~self.literal(value, flags)
        if op is c.ANY:
            return self.every if flags & re.DOTALL else self.every & ~self.literal(10, 0)
        if op is c.IN:
            return self.members(value, flags)
        return None

    def members(self, items: Iterable[tuple[Any, Any]], flags: int) -> int:
        found, negated = 0, False
        for op, value in items:
            if op is c.NEGATE:
                negated = True
            elif op is c.LITERAL:
                found |= self.literal(value, flags)
            elif op is c.RANGE:
                found |= self.folded(self.where(lambda letter, ends=value: ends[0] <= ord(letter) <= ends[1]), flags)
            else:
                found |= self.category(value, flags)
        return self.every & ~found if negated else found

    def literal(self, code: int, flags: int) -> int:
        return self.folded(self.where(lambda letter: ord(letter) == code), flags)

    def folded(self, letters: int, flags: int) -> int:
        if not flags & re.IGNORECASE:
            return letters
        cases = {
            case
            for place, one in enumerate(self.letters)
            if letters >> place & 1
            for case in (one.lower(), one.upper())
        }
        return letters | self.where(cases.__contains__)


# -- the automaton ---------------------------------------------------------------------------------------------------
class Automaton:
    """States are (position, kind of character); `steps[state][kind]`: those behind it, as often as there are ways."""

    def __init__(self, pattern: str | bytes, tree: Any, method: Method, *, counted: bool) -> None:
        self.alphabet, self.counted = Alphabet(pattern), counted
        self.sets: list[int] = []
        self.edges: dict[int, list[tuple[int, Guard]]] = defaultdict(list)
        self.ended: set[int] = set()  # last positions of a look-ahead: there it is over
        self.groups: dict[int, Any] = {}
        whole = self.sequence(tree, tree.state.flags)
        first = list(whole.first)
        if method == Method.SEARCH:
            place = self.position(self.alphabet.every)
            self.edges[place] += [(place, self.alphabet.always), *((to, guard) for guard, to in first)]
            first.append((self.alphabet.always, place))
        self.ended |= {place for place, guard in whole.last if self.is_success(place, guard, method)}
        self.expand(first)

    def is_success(self, place: int, guard: Guard, method: Method) -> bool:
        """Whether a match that comes here cannot fail any more."""
        free = self.sets[place] & ~guard.before == 0
        if method != Method.FULLMATCH:
            return free and guard.behind == self.alphabet.always.behind
        loops = any(to == place and way == self.alphabet.always for to, way in self.edges[place])
        return free and self.sets[place] == self.alphabet.every and loops and bool(guard.behind & self.alphabet.end)

    def expand(self, first: list[tuple[Guard, int]]) -> None:
        """The states that some text reaches, over as few kinds of characters as the guards can tell apart."""
        guards = [guard for ways in self.edges.values() for _to, guard in ways] + [guard for guard, _to in first]
        looks = {*self.sets, *(side for guard in guards for side in guard)}
        kinds: dict[tuple[bool, ...], int] = {}
        for place in range(len(self.alphabet.letters)):
            kinds.setdefault(tuple(bool(look >> place & 1) for look in looks), place)
        self.steps: dict[tuple[int, int], dict[int, list[tuple[int, int]]]] = {}
        ways = [(guard, to) for guard, to in first if guard.before & self.alphabet.start]
        waiting = deque(self.follow(ways, kinds.values()))
        while waiting:
            state = waiting.popleft()
            if state in self.steps:
                continue
            found: dict[int, list[tuple[int, int]]] = defaultdict(list)
            for to, guard in self.edges[state[0]]:
                if guard.before >> state[1] & 1:
                    for behind in self.follow([(guard, to)], kinds.values()):
                        found[behind[1]].append(behind)
            self.steps[state] = dict(found)
            waiting.extend(behind for some in found.values() for behind in some)

    def follow(self, ways: list[tuple[Guard, int]], kinds: Iterable[int]) -> Iterator[tuple[int, int]]:
        for guard, to in ways:
            for kind in kinds:
                if self.sets[to] >> kind & 1 and guard.behind >> kind & 1:
                    yield to, kind

    # -- from the parsed pattern -----------------------------------------------------------------------------------
    def position(self, letters: int) -> int:
        self.sets.append(letters)
        if len(self.sets) > POSITIONS:
            raise TooLarge(f"more than {POSITIONS} positions")
        return len(self.sets) - 1

    def skip(self, *guards: Guard) -> Fragment:
        return Fragment(empty=list(guards or (self.alphabet.always,)))

    def sequence(self, items: Iterable[tuple[Any, Any]], flags: int) -> Fragment:
        whole = self.skip()
        for op, value in items:
            whole = self.join(whole, self.part(op, value, flags))
        return whole

    def join(self, left: Fragment, right: Fragment) -> Fragment:
        for place, before in left.last:
            self.edges[place] += [(to, before & behind) for behind, to in right.first]
        return Fragment(
            twice([one & other for one in left.empty for other in right.empty]),
            left.first + [(skip & guard, to) for skip in left.empty for guard, to in right.first],
            right.last + [(place, guard & skip) for place, guard in left.last for skip in right.empty],
        )

    def part(self, op: Any, value: Any, flags: int) -> Fragment:
        letters = self.alphabet.find_letters(op, value, flags)
        if letters is not None:
            place, always = self.position(letters), self.alphabet.always
            return Fragment([], [(always, place)], [(place, always)])
        if op is c.BRANCH:
            return self.either([self.sequence(branch, flags) for branch in value[1]])
        if op is c.SUBPATTERN:
            group, added, removed, body = value
            self.groups[group] = (body, flags)
            return self.sequence(body, (flags | added) & ~removed)
        if op in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
            return self.repeat(*value, flags, possessive=op is c.POSSESSIVE_REPEAT)
        if op is c.ATOMIC_GROUP:
            items = list(value)
            if len(items) == 1 and items[0][0] in (c.MAX_REPEAT, c.POSSESSIVE_REPEAT):
                return self.repeat(*items[0][1], flags, possessive=True)
            return self.sequence(value, flags)
        if op is c.AT:
            return self.anchor(value, flags)
        if op in (c.ASSERT, c.ASSERT_NOT):
            return self.look(value[0], value[1], flags, negated=op is c.ASSERT_NOT)
        if op is c.GROUPREF:  # what the group took, and so of its form
            body, of_group = self.groups[value]
            return self.sequence(body, of_group)
        if op is c.GROUPREF_EXISTS:
            _group, yes, no = value
            return self.either([self.sequence(yes, flags), self.sequence(no, flags) if no else self.skip()])
        raise NotImplementedError(str(op))

    def either(self, parts: list[Fragment]) -> Fragment:
        return Fragment(
            twice([guard for part in parts for guard in part.empty]),
            [one for part in parts for one in part.first],
            [one for part in parts for one in part.last],
        )

    def repeat(self, least: int, most: Any, body: Any, flags: int, *, possessive: bool) -> Fragment:
        endless = most is c.MAXREPEAT or most > COUNTED
        if not self.counted and least < most and most > 3:
            endless, least = True, min(least, 1)
        whole = self.skip()
        for _copy in range(min(least, COPIES) - (1 if endless and least else 0)):
            whole = self.join(whole, self.sequence(body, flags))
        if endless:
            whole = self.join(whole, self.loop(body, flags, least=least, possessive=possessive))
        else:
            rest = self.skip()
            for _copy in range(min(int(most) - least, COPIES)):
                rest = self.join(self.sequence(body, flags), rest)
                rest.empty = [self.leaving(body, flags) if possessive else self.alphabet.always]
            whole = self.join(whole, rest)
        return whole

    def loop(self, body: Any, flags: int, *, least: int, possessive: bool) -> Fragment:
        part = self.sequence(body, flags)
        for place, before in part.last:
            self.edges[place] += [(to, before & behind) for behind, to in part.first]
        empty = part.empty if least else [self.alphabet.always]
        if possessive:
            leaving = self.leaving(body, flags)
            part.last = [(place, guard & leaving) for place, guard in part.last]
            empty = [guard & leaving for guard in empty]
        return Fragment(twice(empty), part.first, part.last)

    def leaving(self, body: Any, flags: int) -> Guard:
        """A possessive loop over one character ends only before another one."""
        letters = self.single(body, flags)
        return self.alphabet.always if letters is None else self.alphabet.always & Guard(-1, ~letters)

    def single(self, items: Any, flags: int) -> int | None:
        """The set of the one character that these items take."""
        items = list(items)
        if len(items) != 1:
            return None
        op, value = items[0]
        if op is c.SUBPATTERN:
            return self.single(value[3], (flags | value[1]) & ~value[2])
        if op is c.BRANCH:
            parts = [self.single(branch, flags) for branch in value[1]]
            return None if None in parts else union(part for part in parts if part is not None)
        return self.alphabet.find_letters(op, value, flags)

    def anchor(self, kind: Any, flags: int) -> Fragment:
        always, line = self.alphabet.always, self.alphabet.literal(10, 0)
        if kind in (c.AT_BEGINNING, c.AT_BEGINNING_STRING):
            many = kind is c.AT_BEGINNING and flags & re.MULTILINE
            return self.skip(always & Guard(self.alphabet.start | (line if many else 0), -1))
        if kind in (c.AT_END, c.AT_END_STRING):
            return self.skip(always & Guard(-1, self.alphabet.end | (line if kind is c.AT_END else 0)))
        word = self.alphabet.category("CATEGORY_WORD", flags)
        if kind is c.AT_BOUNDARY:
            return self.skip(always & Guard(word, ~word), always & Guard(~word, word))
        return self.skip(always & Guard(word, word), always & Guard(~word, ~word))

    def look(self, direction: int, body: Any, flags: int, *, negated: bool) -> Fragment:
        always, allowed = self.alphabet.always, self.allowed(direction, body, flags)
        if allowed is not None:
            allowed = ~allowed if negated else allowed
            return self.skip(always & (Guard(-1, allowed) if direction > 0 else Guard(allowed, -1)))
        if direction < 0:
            last = None if negated else self.single(list(body)[-1:], flags)
            return self.skip(always if last is None else always & Guard(last, -1))
        inside = self.sequence(body, flags)
        self.ended |= {place for place, guard in inside.last if guard == always}
        guard = always
        if not negated and not inside.empty:
            guard = always & Guard(-1, union(self.sets[place] for _guard, place in inside.first))
        return Fragment([guard], inside.first, [])

    def allowed(self, direction: int, body: Any, flags: int) -> int | None:
        """The neighbours that a look-around of one character asks for; an anchor stands for none at all."""
        items = list(body)
        if len(items) == 1 and items[0][0] is c.BRANCH:
            parts = [self.allowed(direction, branch, flags) for branch in items[0][1][1]]
            return None if None in parts else union(part for part in parts if part is not None)
        if len(items) == 1 and items[0][0] is c.AT:
            if direction > 0 and items[0][1] in (c.AT_END, c.AT_END_STRING):
                return self.alphabet.end
            if direction < 0 and items[0][1] in (c.AT_BEGINNING, c.AT_BEGINNING_STRING) and not flags & re.MULTILINE:
                return self.alphabet.start
            return None
        return self.single(items, flags)


def union(sets: Iterable[int]) -> int:
    found = 0
    for one in sets:
        found |= one
    return found


def twice(guards: list[Guard]) -> list[Guard]:
    """Each as often as there are ways, up to two: more is no more ambiguous."""
    kept: list[Guard] = []
    for guard in guards:
        if kept.count(guard) < 2:
            kept.append(guard)
    return kept


# -- the tests -------------------------------------------------------------------------------------------------------
State = tuple[int, int]


def find_exponential(machine: Automaton) -> str | None:
    for component in components(machine):
        ahead: dict[tuple[State, State], list[tuple[State, State]]] = {}
        waiting = deque((state, state) for state in component)
        while waiting:
            pair = waiting.popleft()
            if pair in ahead:
                continue
            ahead[pair] = []
            for kind, ways in machine.steps[pair[0]].items():
                some = [way for way in ways if way in component]
                if pair[0] == pair[1] and len(set(some)) < len(some):
                    return machine.alphabet.letters[kind]
                others = [way for way in machine.steps[pair[1]].get(kind, ()) if way in component]
                ahead[pair] += [(one, other) for one in some for other in others]
            waiting.extend(ahead[pair])
        behind: dict[tuple[State, State], list[tuple[State, State]]] = defaultdict(list)
        for pair, pairs in ahead.items():
            for after in pairs:
                behind[after].append(pair)
        seen: set[tuple[State, State]] = set()
        back = deque(pair for pair in ahead if pair[0] == pair[1])
        while back:
            pair = back.popleft()
            if pair[0] != pair[1]:
                return machine.alphabet.letters[pair[0][1]]
            for before in behind[pair]:
                if before not in seen:
                    seen.add(before)
                    if before[0] != before[1]:
                        back.appendleft(before)
    return None


def find_polynomial(machine: Automaton) -> str | None:
    loops = components(machine)
    of = {state: number for number, component in enumerate(loops) for state in component}
    reach = {state: reachable(machine, state) for state in of}
    for p in of:
        for q in reach[p]:
            if q in of and of[q] != of[p] and q[1] == p[1]:
                pump = pump_between(machine, p, q, loops[of[p]], loops[of[q]], reach)
                if pump is not None:
                    return pump
    return None


def pump_between(
    machine: Automaton, p: State, q: State, first: set[State], last: set[State], reach: dict[State, set[State]]
) -> str | None:
    """The text that leads from p to p, from p to q and from q to q."""
    waiting = deque([((p, p, q), "")])
    seen = {(p, p, q)}
    while waiting:
        (one, two, three), text = waiting.popleft()
        for kind, ways in machine.steps[one].items():
            ones = {way for way in ways if way in first}
            threes = {way for way in machine.steps[three].get(kind, ()) if way in last}
            if not ones or not threes:
                continue
            twos = {way for way in machine.steps[two].get(kind, ()) if way == q or way not in reach or q in reach[way]}
            for after in ((x, y, z) for x in ones for y in twos for z in threes):
                if after == (p, q, q):
                    return text + machine.alphabet.letters[kind]
                if after not in seen and after[1][0] not in machine.ended:
                    seen.add(after)
                    waiting.append((after, text + machine.alphabet.letters[kind]))
    return None


def reachable(machine: Automaton, state: State) -> set[State]:
    seen: set[State] = set()
    waiting = [state]
    while waiting:
        for ways in machine.steps[waiting.pop()].values():
            for way in ways:
                if way not in seen:
                    seen.add(way)
                    waiting.append(way)
    return seen


def components(machine: Automaton) -> list[set[State]]:
    """The loops: states that lead to each other (Tarjan), without those in which the match has succeeded."""
    alive = [state for state in machine.steps if state[0] not in machine.ended]
    onward = {
        state: [way for ways in machine.steps[state].values() for way in ways if way[0] not in machine.ended]
        for state in alive
    }
    order: list[State] = []
    seen: set[State] = set()
    for root in alive:
        stack: list[tuple[State, Iterator[State]]] = [(root, iter(onward[root]))] if root not in seen else []
        seen.add(root)
        while stack:
            state, ways = stack[-1]
            way = next((one for one in ways if one not in seen), None)
            if way is None:
                order.append(state)
                stack.pop()
            else:
                seen.add(way)
                stack.append((way, iter(onward[way])))
    back: dict[State, list[State]] = defaultdict(list)
    for state, some in onward.items():
        for way in some:
            back[way].append(state)
    found: list[set[State]] = []
    placed: set[State] = set()
    for root in reversed(order):
        if root in placed:
            continue
        component, waiting = set(), [root]
        placed.add(root)
        while waiting:
            state = waiting.pop()
            component.add(state)
            for before in back[state]:
                if before not in placed:
                    placed.add(before)
                    waiting.append(before)
        if len(component) > 1 or root in onward[root]:
            found.append(component)
    return found
