"""The machine that code is compiled for, as its text names it. Light to import: the web process reads it.

Accepted are ``host``, a triple (``aarch64-linux-gnu``), and the form that TVM's own documentation writes:
``llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72 -mattr=+neon``.
"""

import re
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from deepseek.messages import N_
from deepseek.models.machine import get_arch
from deepseek.spec_errors import build_spec_error

HOST = "host"
TRIPLES = {"aarch64-linux-gnu": "aarch64", "x86_64-linux-gnu": "x86_64"}
"""Triple -> its instruction set, as `uname -m` names it."""
TARGETS = (HOST, *TRIPLES)
EXAMPLES = (*TARGETS, "llvm -mtriple=aarch64-linux-gnu", "llvm -mtriple=aarch64-linux-gnu -mcpu=cortex-a72")
_ANY_VENDOR = re.compile(r"^(\w+)-(?:unknown|none|pc)-(linux-gnu)$")
_CPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_FEATURE = re.compile(r"[+-][A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_OPTIONS = ("mtriple", "mcpu", "mattr", "device")  # the last chooses schedules that TVM 0.27 no longer has


@dataclass(frozen=True)
class Target:
    """`triple` None: the machine that compiles. `mcpu`: LLVM's name of the processor; empty: any of the triple."""

    triple: str | None = None
    mcpu: str = ""
    mattr: tuple[str, ...] = ()

    @property
    def arch(self) -> str:
        """The instruction set."""
        return TRIPLES[self.triple] if self.triple else get_arch()

    @property
    def is_native(self) -> bool:
        """Whether this machine's own instruction set is meant."""
        return self.arch == get_arch()


def parse_target(text: str) -> Target:
    """The target that `text` names. Raises PydanticCustomError ``target_unknown`` naming what is supported."""
    words = text.split()
    if not words or (words[0] != "llvm" and len(words) > 1):
        raise _build_error(N_("A target is one of {expected}, or llvm with options."))
    if words[0] != "llvm":
        return Target() if words[0] == HOST else Target(_read_triple(words[0]))
    options = dict(map(_split_option, words[1:]))
    mcpu, mattr = options.get("mcpu", ""), tuple(filter(None, options.get("mattr", "").split(",")))
    wrong = [value for value in mattr if not _FEATURE.fullmatch(value)]
    if mcpu and not _CPU.fullmatch(mcpu):
        wrong.append(mcpu)
    if wrong:
        raise _build_error(N_("{option} is no name of a processor or of its features."), option=wrong[0])
    return Target(_read_triple(options["mtriple"]) if "mtriple" in options else None, mcpu, mattr)


def _split_option(word: str) -> tuple[str, str]:
    name, _, value = word.lstrip("-").partition("=")
    if not word.startswith("-") or not value or name not in _OPTIONS:
        raise _build_error(
            N_("{option} is no option of a target; there are {options}."),
            option=word,
            options=", ".join(f"-{name}=" for name in _OPTIONS),
        )
    return name, value


def _read_triple(triple: str) -> str:
    matches = _ANY_VENDOR.sub(r"\1-\2", triple)
    if matches not in TRIPLES:
        raise _build_error(N_("There is no target {option}; supported are {expected}."), option=triple)
    return matches


def _build_error(msgid: str, **params: str) -> PydanticCustomError:
    params = {name: value[:100] for name, value in params.items()}
    return build_spec_error("target_unknown", msgid, **params, expected=", ".join(TARGETS))
