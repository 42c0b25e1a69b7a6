"""Whether a sweep can be made of what was asked, before anything is written: every error, each beside its field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError
from apps.ml.sweeps.models import NAME_LIMIT
from apps.ml.sweeps.schemas import SweepRequest
from apps.ml.sweeps.trial_jobs import MissingPlace, apply_values
from apps.platform.accounts.models import Project
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.spec_validation import combine_errors, extract_problem, get_job_kind, parse_spec
from apps.platform.jobs.submission import build_error
from apps.platform.jobs.submission_validation import validate_submission
from deepseek.messages import N_, Message
from deepseek.sweep.spec import ChoiceParameter, Parameter, Scalar

Fault = dict[str, Any]


def list_tunable_kinds() -> list[str]:
    return [key for key, kind in KINDS.items() if kind.tunable]


def check_request(actor: Actor, project: Project, request: SweepRequest) -> None:
    """Invalid with every error: of the kind, the spec, the inputs, and of each value that a parameter may take."""
    kind = get_job_kind(request.job.kind)
    if not kind.tunable:
        raise Invalid(
            "A {kind} job reports no metric to look for.",
            kind=request.job.kind,
            code="not_tunable",
            field="/kind",
            limit=", ".join(list_tunable_kinds()),
        )
    errors = check_name(request.job.name)
    space = request.settings.space
    errors += check_places(request)
    if errors:
        raise combine_errors(errors)
    middle = [get_first_value(parameter) for parameter in space]
    errors = [point_at_space(error, space) for error in find_job_faults(actor, project, request, middle)]
    if not errors:
        errors = [fault for index in range(len(space)) for fault in check_extremes(request, index)]
    if errors:
        raise combine_errors(errors)


def check_name(name: str) -> list[Fault]:
    if len(name) <= NAME_LIMIT:
        return []
    message = Message("/name has {count} characters.", count=len(name))
    return [build_error("too_long", message, "/name", NAME_LIMIT, Message("Shorten it."))]


def check_places(request: SweepRequest) -> list[Fault]:
    """The parameters for which the spec has no field, or the command no word; each beside those before it."""
    errors: list[Fault] = []
    good: list[Parameter] = []
    for index, parameter in enumerate(request.settings.space):
        tried = [*good, parameter]
        try:
            apply_values(request.job.spec, tried, [get_first_value(each) for each in tried])
        except (MissingPlace, TypeError, AttributeError):  # also a pointer through a text or a number
            errors.append(build_place_error(parameter.name, index))
        else:
            good = tried
    return errors


def build_place_error(name: str, index: int) -> Fault:
    message = (
        Message("The spec has no field {name}.", name=name[:80])
        if name.startswith("/")
        else Message("No argument of a command has {{{name}}} in it.", name=name[:80])
    )
    hint = N_("A pointer begins with / and names a field of the spec; a word stands in braces in a script's command.")
    where = f"/space/{index}/name"
    return {"code": "unknown_parameter", "message": message, "field": where, "limit": None, "hint": hint}


def get_first_value(parameter: Parameter) -> Scalar:
    return list_extremes(parameter)[0][1]


def list_extremes(parameter: Parameter) -> list[tuple[str, Scalar]]:
    """(where it stands, value) of the values that must hold for all to hold: both bounds, or each choice."""
    if isinstance(parameter, ChoiceParameter):
        return [(f"choices/{place}", choice) for place, choice in enumerate(parameter.choices)]
    return [("low", parameter.low), ("high", parameter.high)]


def find_job_faults(
    actor: Actor, project: Project, request: SweepRequest, values: Sequence[Scalar]
) -> list[Mapping[str, Any]]:
    """What is against a job with these values: its spec, inputs, limits and what it registers."""
    spec = apply_values(request.job.spec, request.settings.space, values)
    try:
        validate_submission(actor, project, replace(request.job, spec=spec))
    except Invalid as failure:
        return list(failure.errors)
    return []


def point_at_space(error: Mapping[str, Any], space: Sequence[Parameter]) -> Fault:
    """An error at a field that a parameter sets stands beside the parameter."""
    field = str(error["field"])
    for index, parameter in enumerate(space):
        if parameter.name.startswith("/") and field == f"/spec{parameter.name}":
            if error["code"] == "spec_extra_forbidden":
                return build_place_error(parameter.name, index)
            where = list_extremes(parameter)[0][0]
            return {**error, "message": extract_problem(error), "field": f"/space/{index}/{where}"}
    return dict(error)


def check_extremes(request: SweepRequest, index: int) -> list[Fault]:
    """Whether the kind's spec takes the bounds or choices of a parameter, with some values of the other ones."""
    space = request.settings.space
    errors = []
    for where, value in list_extremes(space[index]):
        faults: list[Fault] | None = None
        for place in (0, -1):
            values = [list_extremes(parameter)[place][1] for parameter in space]
            values[index] = value
            latest_faults = find_spec_faults(request, values)
            faults = latest_faults if faults is None else faults
            if not latest_faults:
                break
        else:
            error = (faults or [])[0]
            errors.append({**error, "message": extract_problem(error), "field": f"/space/{index}/{where}"})
    return errors


def find_spec_faults(request: SweepRequest, values: Sequence[Scalar]) -> list[Fault]:
    try:
        spec = apply_values(request.job.spec, request.settings.space, values)
        parse_spec(request.job.kind, spec, strict=request.job.strict)
    except PlaneError as failure:
        return failure.errors
    return []
