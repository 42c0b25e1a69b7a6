"""Write the lists of apps/texts anew: what specs and errors say, for `makemessages` to find."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

import apps.texts
from apps import errors
from apps.jobs.kinds import KINDS
from apps.pipelines.templates import TEMPLATES
from apps.texts.collecting import Source, texts_of_spec

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(apps.texts.__file__).parent
WIDTH = 120  # of a line of source
UNREAD = (  # by no page: commands of a terminal, the service that answers for a model
    "deepseek/serve",
    "deepseek/cli.py",
    "deepseek/flags.py",
    "controlplane/backup",
    "controlplane/demo",
    "controlplane/management",
    "apps/mlflow",  # programs alone read it
    "apps/texts",
)
HEAD = '''"""{doc} Written by `manage.py collect_texts`; not by hand."""

from django.utils.translation import gettext_noop as _

{name} = (
'''


def lists() -> dict[str, str]:
    """File name -> what it must hold."""
    names = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)]
    specs = [kind.spec for kind in KINDS.values()] + [template.parameters for template in TEMPLATES.values()]
    told = set().union(*map(texts_of_spec, specs))
    return {
        "specs.py": written("SPECS", "What the fields of the specs say.", told),
        "engine.py": written("ENGINE", "What the engine says when it refuses.", messages(["deepseek"], names)),
        "services.py": written(
            "SERVICES", "What services say when they refuse.", messages(["apps", "controlplane"], names)
        ),
    }


def messages(folders: Iterable[str], names: list[str]) -> set[str]:
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    read = [path for path in paths if not path.relative_to(ROOT).as_posix().startswith(UNREAD)]
    return Source.of(read, names).messages()


def written(name: str, doc: str, texts: set[str]) -> str:
    return HEAD.format(name=name, doc=doc) + "".join(map(line, sorted(texts))) + ")\n"


def line(text: str) -> str:
    """As the formatter of the repository writes it, so that it finds nothing to do. A % in it is only a sign."""
    short = f"    _({quoted(text)}),\n"
    whole = short if len(short) <= WIDTH + 1 else f"    _(\n        {quoted(text)}\n    ),\n"
    return f"    # xgettext:no-python-format\n{whole}" if "%" in text else whole


def quoted(text: str) -> str:
    """With double quotes, unless the text holds more of them."""
    escaped = text.replace("\\", "\\\\")
    if text.count('"') > text.count("'"):
        return "'" + escaped.replace("'", "\\'") + "'"
    return '"' + escaped.replace('"', '\\"') + '"'


class Command(BaseCommand):
    help = "Write the lists of texts that the catalogue is made from. --check only compares."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--check", action="store_true", help="Fail if a list is not what the source says.")

    def handle(self, *args: Any, **options: Any) -> None:
        for name, text in lists().items():
            path = FOLDER / name
            if path.exists() and path.read_text("utf-8") == text:
                continue
            if options["check"]:
                raise CommandError(f"{path.relative_to(ROOT)} is old: run manage.py collect_texts.")
            path.write_text(text, "utf-8")
            self.stdout.write(f"{path.relative_to(ROOT)} written.")
