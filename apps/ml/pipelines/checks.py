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
from apps.platform.jobs.submission import build_error, can_make, list_outputs
from apps.platform.jobs.submission_validation import validate_submission
from deepseek.messages import Message

Fault = dict[str, Any]
NAME_RULE = Message("lower-case letters, digits and hyphens, up to {step_name_limit}", step_name_limit=STEP_NAME_LIMIT)


def check_steps(actor: Actor, project: Project, steps: Sequence[StepBody], name: str = "") -> list[StepBody]:
    """The steps, parents before children and else as given; Invalid with every error of all of them."""
    errors = find_count_faults(steps) or [
        *find_title_faults(name),
        *find_name_faults(steps),
        *find_reference_faults(steps),
        *find_cycle_faults(steps),
        *(
            step_fault
            for index, step in enumerate(steps)
            for step_fault in find_step_faults(actor, project, index, step)
        ),
    ]
    if errors:
        raise combine_errors(errors)
    return [steps[index] for index in sort_topologically(steps)]


def find_count_faults(steps: Sequence[StepBody]) -> list[Fault]:
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


def find_title_faults(name: str) -> list[Fault]:
    if len(name) <= 120:
        return []
    return [
        build_error(
            "too_long", Message("/name has {count} characters.", count=len(name)), "/name", 120, Message("Shorten it.")
        )
    ]


def find_name_faults(steps: Sequence[StepBody]) -> list[Fault]:
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
def find_reference_faults(steps: Sequence[StepBody]) -> list[Fault]:
    """Every name of a step that another one takes from or comes after, and every slot of its output."""
    kinds = {step.name: step.kind for step in steps}
    errors = []
    for index, step in enumerate(steps):
        for slot, step_input in step.inputs.items():
            errors += find_input_faults(step_input, f"/steps/{index}/inputs/{slot}", kinds)
        for place, name in enumerate(step.after):
            if name not in kinds:
                errors.append(build_unknown_step_error(name, f"/steps/{index}/after/{place}", kinds))
    return errors


def find_input_faults(step_input: StepInputBody, where: str, kinds: Mapping[str, str]) -> list[Fault]:
    sources = [source for source in (step_input.digest, step_input.job, step_input.step) if source is not None]
    if len(sources) > 1 or (step_input.digest is not None and step_input.slot is not None):
        message = Message("An input comes from one place: a digest, a step's slot or a job's slot.")
        return [build_error("input_ambiguous", message, where, hint=Message("Leave the others out."))]
    if step_input.step is None:
        return []  # a digest or a job: looked up by the job's own check
    if step_input.step not in kinds:
        return [build_unknown_step_error(step_input.step, f"{where}/step", kinds)]
    kind = KINDS.get(kinds[step_input.step])
    if step_input.slot is None:
        limit = ", ".join(kind.outputs) if kind else None
        return [build_error("slot_missing", Message("Name the slot of the step's output."), f"{where}/slot", limit)]
    if kind is not None and not can_make(kind, step_input.slot):
        message = Message(
            "The step {step}, a {kinds} job, has no output {slot!r}.",
            step=step_input.step,
            kinds=kinds[step_input.step],
            slot=step_input.slot,
        )
        return [build_error("unknown_slot", message, f"{where}/slot", list_outputs(kind))]
    return []


def build_unknown_step_error(name: str, where: str, kinds: Mapping[str, str]) -> Fault:
    near = difflib.get_close_matches(name, kinds, n=1)
    return build_error(
        code="step_unknown",
        message=Message("There is no step {name!r}.", name=name[:60]),
        where=where,
        limit=", ".join(list(kinds)[:20]),
        hint=Message("Did you mean {near}?", near=near[0]) if near else Message("Name a step of this pipeline."),
    )


def find_step_faults(actor: Actor, project: Project, index: int, step: StepBody) -> list[Fault]:
    """What the job of this step would be refused for, the inputs that other steps will fill taken as filled."""
    promised = [slot for slot, step_input in step.inputs.items() if step_input.step is not None]
    try:
        validate_submission(actor, project, step.submission({}), promised=promised)
    except Invalid as failure:
        return prefix_errors(failure.errors, f"/steps/{index}")
    return []


def prefix_errors(errors: Sequence[Fault], prefix: str) -> list[Fault]:
    """The errors of one step with their pointers from the whole; a message that begins with its pointer as well."""
    prefixed = []
    for error in errors:
        pointer = str(error.get("field") or "")
        message = error["message"]
        if pointer.startswith("/") and message.startswith(pointer):
            message = add_pointer(f"{prefix}{pointer}", extract_problem(error))
        prefixed.append(
            {**error, "message": message, "field": f"{prefix}{pointer}" if pointer.startswith("/") else prefix}
        )
    return prefixed


# -- the graph ------------------------------------------------------------------------------------------------------
def list_parents(steps: Sequence[StepBody]) -> list[list[int]]:
    """For each step the places of those it waits for; names that there are not are left out."""
    place = {step.name: index for index, step in reversed(list(enumerate(steps)))}
    return [[place[name] for name in step.parents() if name in place] for step in steps]


def sort_topologically(steps: Sequence[StepBody]) -> list[int]:
    """The places of the steps, parents before children; of several that may be next, the one given first.

    Kahn, Topological sorting of large networks (1962). What a cycle holds back is left out.
    """
    parents = list_parents(steps)
    children: dict[int, list[int]] = defaultdict(list)
    for index, above in enumerate(parents):
        for parent in above:
            children[parent].append(index)
    open_parents = [len(above) for above in parents]
    ready = [index for index, count in enumerate(open_parents) if not count]
    ordered = []
    while ready:
        index = heapq.heappop(ready)
        ordered.append(index)
        for child in children[index]:
            open_parents[child] -= 1
            if not open_parents[child]:
                heapq.heappush(ready, child)
    return ordered


def find_cycle_faults(steps: Sequence[StepBody]) -> list[Fault]:
    """One cycle, named from end to end. Going up from what is held back one meets the cycle that holds it."""
    blocked = set(range(len(steps))) - set(sort_topologically(steps))
    if not blocked:
        return []
    parents = list_parents(steps)
    index, path = min(blocked), []
    while index not in path:
        path.append(index)
        index = next(parent for parent in parents[index] if parent in blocked)
    cycle = path[path.index(index) :]
    start = cycle.index(min(cycle))
    names = [steps[index].name for index in [*cycle[start:], *cycle[:start], cycle[start]]]
    return [
        build_error(
            code="step_cycle",
            message=Message("Steps wait for each other: {named}.", named=" waits for ".join(names)),
            where=f"/steps/{min(cycle)}",
            hint=Message("Take one of these out of inputs or after."),
        )
    ]


def find_descendants(parents: Mapping[str, Sequence[str]], name: str) -> set[str]:
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


def find_needed_steps(parents: Mapping[str, Sequence[str]], steps: set[str]) -> set[str]:
    """The other steps whose outputs these take."""
    return {parent for step in steps for parent in parents[step]} - steps
