"""Whether steps can be a pipeline, looked at whole before any job is made: every error at once, by JSON pointer."""

from __future__ import annotations

import difflib
import heapq
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.ml.pipelines.models import STEP_NAME_LIMIT
from apps.ml.pipelines.schemas import STEPS_LIMIT, StepBody, StepInputBody
from apps.platform.accounts.models import SLUG, Project
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.spec_validation import add_pointer, combine_errors, extract_problem
from apps.platform.jobs.submission import build_error, validate_submission
from deepseek.messages import Message

Fault = dict[str, Any]
NAME_RULE = Message("lower-case letters, digits and hyphens, up to {step_name_limit}", step_name_limit=STEP_NAME_LIMIT)


def check_steps(actor: Actor, project: Project, steps: Sequence[StepBody], name: str = "") -> list[StepBody]:
    """The steps, parents before children and else as given; Invalid with every error of all of them."""
    errors = count_faults(steps) or [
        *title_faults(name),
        *name_faults(steps),
        *reference_faults(steps),
        *cycle_faults(steps),
        *(found for index, step in enumerate(steps) for found in step_faults(actor, project, index, step)),
    ]
    if errors:
        raise combine_errors(errors)
    return [steps[index] for index in order_of(steps)]


def count_faults(steps: Sequence[StepBody]) -> list[Fault]:
    if 1 <= len(steps) <= STEPS_LIMIT:
        return []
    limit = f"1..{STEPS_LIMIT}"
    return [
        build_error(
            code="steps_count",
            message=Message("A pipeline of {count} steps.", count=len(steps)),
            where="/steps",
            limit=limit,
        )
    ]


def title_faults(name: str) -> list[Fault]:
    if len(name) <= 120:
        return []
    return [
        build_error(
            "too_long", Message("/name has {count} characters.", count=len(name)), "/name", 120, Message("Shorten it.")
        )
    ]


def name_faults(steps: Sequence[StepBody]) -> list[Fault]:
    """A step's name is a short word, once in a pipeline: errors, jobs and re-runs refer to it."""
    errors = []
    first: dict[str, int] = {}
    for index, step in enumerate(steps):
        where = f"/steps/{index}/name"
        if not re.search(SLUG.regex, step.name) or len(step.name) > STEP_NAME_LIMIT:
            errors.append(
                build_error(
                    "bad_name", Message("{step_name!r} cannot name a step.", step_name=step.name[:60]), where, NAME_RULE
                )
            )
        elif step.name in first:
            errors.append(
                build_error(
                    code="step_duplicate",
                    message=Message(
                        "Two steps are called {step_name}: numbers {first} and {index}.",
                        step_name=step.name,
                        first=first[step.name],
                        index=index,
                    ),
                    where=where,
                    hint=Message("Rename one of them."),
                )
            )
        first.setdefault(step.name, index)
    return errors


# -- references -----------------------------------------------------------------------------------------------------
def reference_faults(steps: Sequence[StepBody]) -> list[Fault]:
    """Every name of a step that another one takes from or comes after, and every slot of its output."""
    kinds = {step.name: step.kind for step in steps}
    errors = []
    for index, step in enumerate(steps):
        for slot, given in step.inputs.items():
            errors += input_faults(given, f"/steps/{index}/inputs/{slot}", kinds)
        for place, name in enumerate(step.after):
            if name not in kinds:
                errors.append(unknown_step(name, f"/steps/{index}/after/{place}", kinds))
    return errors


def input_faults(given: StepInputBody, where: str, kinds: Mapping[str, str]) -> list[Fault]:
    sources = [source for source in (given.digest, given.job, given.step) if source is not None]
    if len(sources) > 1 or (given.digest is not None and given.slot is not None):
        message = Message("An input comes from one place: a digest, a step's slot or a job's slot.")
        return [build_error("input_ambiguous", message, where, hint=Message("Leave the others out."))]
    if given.step is None:
        return []  # a digest or a job: looked up by the job's own check
    if given.step not in kinds:
        return [unknown_step(given.step, f"{where}/step", kinds)]
    kind = KINDS.get(kinds[given.step])
    if given.slot is None:
        limit = ", ".join(kind.outputs) if kind else None
        return [build_error("slot_missing", Message("Name the slot of the step's output."), f"{where}/slot", limit)]
    if kind is not None and given.slot not in kind.outputs:
        message = Message(
            "The step {step}, a {kinds} job, has no output {slot!r}.",
            step=given.step,
            kinds=kinds[given.step],
            slot=given.slot,
        )
        return [build_error("unknown_slot", message, f"{where}/slot", ", ".join(kind.outputs) or "none")]
    return []


def unknown_step(name: str, where: str, kinds: Mapping[str, str]) -> Fault:
    near = difflib.get_close_matches(name, kinds, n=1)
    return build_error(
        code="step_unknown",
        message=Message("There is no step {name!r}.", name=name[:60]),
        where=where,
        limit=", ".join(list(kinds)[:20]),
        hint=Message("Did you mean {near}?", near=near[0]) if near else Message("Name a step of this pipeline."),
    )


def step_faults(actor: Actor, project: Project, index: int, step: StepBody) -> list[Fault]:
    """What the job of this step would be refused for, the inputs that other steps will fill taken as filled."""
    promised = [slot for slot, given in step.inputs.items() if given.step is not None]
    try:
        validate_submission(actor, project, step.submission({}), promised=promised)
    except Invalid as failure:
        return moved(failure.errors, f"/steps/{index}")
    return []


def moved(errors: Sequence[Fault], prefix: str) -> list[Fault]:
    """The errors of one step with their pointers from the whole; a message that begins with its pointer as well."""
    found = []
    for error in errors:
        here = str(error.get("field") or "")
        message = error["message"]
        if here.startswith("/") and message.startswith(here):
            message = add_pointer(f"{prefix}{here}", extract_problem(error))
        found.append({**error, "message": message, "field": f"{prefix}{here}" if here.startswith("/") else prefix})
    return found


# -- the graph ------------------------------------------------------------------------------------------------------
def parents_of(steps: Sequence[StepBody]) -> list[list[int]]:
    """For each step the places of those it waits for; names that there are not are left out."""
    place = {step.name: index for index, step in reversed(list(enumerate(steps)))}
    return [[place[name] for name in step.parents() if name in place] for step in steps]


def order_of(steps: Sequence[StepBody]) -> list[int]:
    """The places of the steps, parents before children; of several that may be next, the one given first.

    Kahn, Topological sorting of large networks (1962). What a cycle holds back is left out.
    """
    parents = parents_of(steps)
    children: dict[int, list[int]] = defaultdict(list)
    for index, above in enumerate(parents):
        for parent in above:
            children[parent].append(index)
    open_parents = [len(above) for above in parents]
    ready = [index for index, count in enumerate(open_parents) if not count]
    found = []
    while ready:
        index = heapq.heappop(ready)
        found.append(index)
        for child in children[index]:
            open_parents[child] -= 1
            if not open_parents[child]:
                heapq.heappush(ready, child)
    return found


def cycle_faults(steps: Sequence[StepBody]) -> list[Fault]:
    """One cycle, named from end to end. Going up from what is held back one meets the cycle that holds it."""
    held = set(range(len(steps))) - set(order_of(steps))
    if not held:
        return []
    parents = parents_of(steps)
    here, path = min(held), []
    while here not in path:
        path.append(here)
        here = next(parent for parent in parents[here] if parent in held)
    cycle = path[path.index(here) :]
    start = cycle.index(min(cycle))
    named = [steps[index].name for index in [*cycle[start:], *cycle[:start], cycle[start]]]
    return [
        build_error(
            code="step_cycle",
            message=Message("Steps wait for each other: {named}.", named=" waits for ".join(named)),
            where=f"/steps/{min(cycle)}",
            hint=Message("Take one of these out of inputs or after."),
        )
    ]


def descendants_of(parents: Mapping[str, Sequence[str]], name: str) -> set[str]:
    """The step of this name and everything that waits for it, however far below. `parents`: of every step."""
    children: dict[str, list[str]] = defaultdict(list)
    for child, above in parents.items():
        for parent in above:
            children[parent].append(child)
    below, due = {name}, [name]
    while due:
        fresh = [child for child in children[due.pop()] if child not in below]
        below.update(fresh)
        due += fresh
    return below


def needed_by(parents: Mapping[str, Sequence[str]], steps: set[str]) -> set[str]:
    """The other steps whose outputs these take."""
    return {parent for step in steps for parent in parents[step]} - steps
