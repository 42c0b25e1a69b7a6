"""Gather what is to be translated: Django's command, and the messages of errors, of the engine and of specs.

A message is the first text of an error, of `Message` or of `N_`. The titles and docs of specs stand in keyword
arguments and docstrings, where xgettext finds nothing: they are read from the schemas, into a file that goes again.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.commands import makemessages
from pydantic import BaseModel

from apps.core import errors
from apps.ml.pipelines.templates import TEMPLATES
from apps.platform.jobs.kinds import KINDS
from deepseek.job import EngineError


def list_keywords() -> Iterator[str]:
    """The functions whose argument is a message, as xgettext takes them: name and place of the argument."""
    for module in (settings.ROOT_URLCONF, "workers.runner", "workers.snapshots.runner"):
        import_module(module)  # defines the errors that are asked for below
    yield from ("N_", "Message:1")
    yield from (f"{name}:2" for name in ("build_job_error", "build_spec_error"))
    yield from (f"{error.__name__}:2" for error in iter_subclasses(EngineError))
    for error in iter_subclasses(errors.PlaneError):
        yield f"{error.__name__}:1"


def iter_subclasses(error: type[Exception]) -> Iterator[type[Exception]]:
    yield error
    for below in error.__subclasses__():
        yield from iter_subclasses(below)


def collect_spec_texts() -> set[str]:
    """The titles, docs, units and words of every field of every spec, through all models inside."""
    specs = [kind.spec for kind in KINDS.values()] + [template.parameters for template in TEMPLATES.values()]
    return set().union(*map(collect_texts, specs))


def collect_texts(model: type[BaseModel]) -> set[str]:
    schema = model.model_json_schema()
    defined = schema.get("$defs", {})
    inside = list(defined.values())
    texts = {str(part["description"]) for part in inside if part.get("description")}
    # What the entries of a list are called; a class that says nothing has its own name there.
    texts |= {part["title"] for name, part in defined.items() if part.get("title", name) != name}
    for part in (schema, *inside):
        for field in part.get("properties", {}).values():
            texts |= {str(field[key]) for key in ("title", "description", "unit") if field.get(key)}
            texts |= set(field.get("words", {}).values())
    return texts


class Command(makemessages.Command):
    xgettext_options = [*makemessages.Command.xgettext_options, *(f"--keyword={name}" for name in list_keywords())]

    def build_potfiles(self) -> list[str]:
        """Django's, with a module beside the source for as long as it is read."""
        root = Path(__file__).resolve().parents[3]
        lines = (f"# xgettext:no-python-format\nN_({text!r})\n" for text in sorted(collect_spec_texts()))
        path = root / "specs_of_jobs.py"
        path.write_text("".join(lines), "utf-8")
        try:
            texts: list[str] = super().build_potfiles()
        finally:
            path.unlink()
        return texts

    def find_files(self, root: str) -> list[Any]:
        """Without tests, benchmarks, what only programs and terminals read, and what is never translated."""
        files: list[Any] = super().find_files(root)
        return [file for file in files if not file.path.lstrip("./").startswith(UNREAD)]


UNREAD = (
    *("tests/", "benchmarks/", "deploy/"),
    *(
        "deepseek/agent",
        "deepseek/client",
        "deepseek/serve",
        "deepseek/signing",
        "deepseek/cli.py",
        "deepseek/flags.py",
    ),
    *(f"apps/site/snapshots/{name}.py" for name in ("backup", "databases", "layout", "restore")),  # commands alone
    *("controlplane/demo", "controlplane/management"),
    "apps/gateways/mlflow",
)
