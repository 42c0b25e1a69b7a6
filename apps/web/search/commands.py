"""The pages and actions that the command palette offers: what the reader's role has, in each of their projects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.urls import reverse
from django.utils.translation import get_language, gettext_lazy, override
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.platform.accounts.models import Project
from apps.platform.jobs.kinds import KINDS

MAX_PROJECTS_OFFERED = 20  # whose pages are offered
MAX_COMMANDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A page or an action, by its words."""

    title: str
    url: str
    icon: str
    project: str = ""


# (icon, label, name of the address, the action that it takes); of a project, and of the plane. "" is open to everybody.
ACTIONS = (
    ("plus", gettext_lazy("New job"), "datasets:new_job", "job.submit"),
    ("upload", gettext_lazy("Upload data"), "datasets:upload", "dataset.add_version"),
    ("plus", gettext_lazy("Train a model"), "pipelines:new", "pipeline.submit"),
    ("plus", gettext_lazy("New sweep"), "sweeps:new", "sweep.submit"),
)
PAGES = (
    ("home", gettext_lazy("Home"), "project_home", "project.view"),
    ("data", gettext_lazy("Data"), "datasets:list", "dataset.view"),
    ("jobs", gettext_lazy("Jobs"), "jobs:list", "job.view"),
    ("jobs", gettext_lazy("Pipelines"), "pipelines:list", "pipeline.view"),
    ("jobs", gettext_lazy("Sweeps"), "sweeps:list", "sweep.view"),
    ("cols", gettext_lazy("Experiments"), "experiments:experiments", "run.view"),
    ("runs", gettext_lazy("Runs"), "experiments:list", "run.view"),
    ("models", gettext_lazy("Models"), "registry:list", "model.view"),
    ("held", gettext_lazy("Approvals"), "approvals:list", "approval.view"),
    ("play", gettext_lazy("Endpoints"), "endpoints:list", "endpoint.view"),
    ("eye", gettext_lazy("Monitoring"), "monitoring:list", "monitor.view"),
    ("eye", gettext_lazy("Observations"), "observations:list", "observation.view"),
    ("devices", gettext_lazy("Devices"), "devices:list", "device.view"),
    ("rollouts", gettext_lazy("Rollouts"), "rollouts:list", "rollout.view"),
    ("pen", gettext_lazy("Labelling"), "labelling:list", "labelling.view"),
    ("models", gettext_lazy("Federated studies"), "federation:list", "federation.view"),
    ("external", gettext_lazy("Transfer"), "transfer:overview", "bundle.view"),
    ("user", gettext_lazy("Members"), "accounts:members", "project.view"),
)
PLANE_PAGES = (
    ("home", gettext_lazy("All projects"), "home", ""),
    ("nodes", gettext_lazy("Nodes"), "nodes:list", "node.view"),
    ("waiting", gettext_lazy("Schedules"), "plane_schedules:list", "schedule.view_plane"),
    ("file", gettext_lazy("Packages"), "packages:list", "package.view"),
    ("user", gettext_lazy("People"), "accounts:people", "user.view"),
    ("audit", gettext_lazy("Audit"), "audit:list", "audit.view"),
    ("bell", gettext_lazy("Notices"), "inbox:list", ""),
    ("user", gettext_lazy("Account"), "accounts:account", ""),
    ("key", gettext_lazy("API tokens"), "accounts:tokens", ""),
    ("help", gettext_lazy("Help"), "help", ""),
    ("terminal", gettext_lazy("REST interface"), "api-docs", ""),
)


def list_commands(
    actor: Actor, projects: Sequence[Project], words: Sequence[str], *, here: Project | None = None
) -> list[Command]:
    """Commands that hold every word, of the project `here` first; without words those of that project or the plane."""
    commands: list[Command] = []
    for command in iter_commands(actor, projects, here=here, has_words=bool(words)):
        if all(word.lower() in get_command_text(command) for word in words):
            commands.append(command)
            if len(commands) == MAX_COMMANDS:
                break
    return commands


def get_command_text(command: Command) -> str:
    """What a word is looked for in: the title in the reader's language and in English, and the project."""
    return f"{command.title} {translate_to_english(command.title)} {command.project}".lower()


def iter_commands(
    actor: Actor, projects: Sequence[Project], *, here: Project | None, has_words: bool
) -> Iterator[Command]:
    own = [project for project in projects if project.pk in actor.project_ids][:MAX_PROJECTS_OFFERED]
    if here is not None:
        own = [here, *(project for project in own if project.pk != here.pk)]
    for entries in (ACTIONS, PAGES):
        for project in own:
            for entry in entries:
                yield from build_commands(actor, entry, project)
        if entries is ACTIONS and not has_words:
            break
    yield from (command for entry in PLANE_PAGES for command in build_commands(actor, entry, None))
    for project in own if has_words else ():
        if is_allowed(actor, "job.submit", project):
            yield from list_kind_commands(project)
    yield from (build_project_command(project) for project in projects)


def build_commands(actor: Actor, entry: tuple[str, Any, str, str], project: Project | None) -> list[Command]:
    icon, label, name, action = entry
    if action and not (is_allowed(actor, action, project) if project else is_allowed(actor, action)):
        return []
    slug = project.slug if project else ""
    return [Command(title=str(label), url=reverse(name, args=[slug] if slug else []), icon=icon, project=slug)]


def list_kind_commands(project: Project) -> list[Command]:
    """A new job of each kind; training a model is an action of its own."""
    new = _("New job")
    return [
        Command(
            title=f"{new}: {kind.label}",
            url=reverse("datasets:new_job_of", args=[project.slug, key]),
            icon="plus",
            project=project.slug,
        )
        for key, kind in KINDS.items()
        if not kind.internal and key != "train"
    ]


def build_project_command(project: Project) -> Command:
    title = _("Project %(name)s") % {"name": project.name}
    return Command(title=title, url=reverse("project_home", args=[project.slug]), icon="brand", project=project.slug)


@lru_cache(maxsize=8)
def list_english_titles(language: str) -> dict[str, str]:
    """{title in the language: title in English} of all fixed titles."""
    labels = [label for entries in (ACTIONS, PAGES, PLANE_PAGES) for _icon, label, _name, _action in entries]
    with override("en"):
        english = [str(label) for label in labels]
    return dict(zip(map(str, labels), english, strict=True))


def translate_to_english(title: str) -> str:
    return list_english_titles(get_language() or "").get(title, "")
