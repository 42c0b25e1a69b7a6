"""Choose the next trials of a sweep with Optuna. The study is rebuilt from the trials in the spec: nothing is kept."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.job import JSON, Output, Report, Result, stage_outputs
from deepseek.sweep.spec import ChoiceParameter, FloatParameter, Parameter, SweepAskSpec, SweepSettings, TrialRecord

if TYPE_CHECKING:
    import optuna

ANSWER_NAME = "answer.json"
MIN_IMPORTANCE_TRIALS = 4  # complete ones: of fewer the shares say nothing


def run(spec: SweepAskSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Write ``answer.json``, whose meta is the whole document: the values of `spec.count` trials, and importances.

    The same spec gives the same answer. The seed of the draw is that of the sweep and the number of trials so far, so
    that a later job does not draw an earlier one's values again.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    report.progress(0, spec.count, "trials", stage="ask")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = build_study(spec)
        importance = compute_importance(study)
        space = build_distributions(spec.settings)
        trials = [read_values(study.ask(space).params, spec.settings) for _ in range(spec.count)]
    answer: dict[str, Any] = {"trials": trials, "importance": importance}
    text = json.dumps(answer, ensure_ascii=False, sort_keys=True, indent=1) + "\n"
    with stage_outputs(out) as stage:
        (stage / ANSWER_NAME).write_text(text, encoding="utf-8")
    report.progress(spec.count, spec.count, "trials", stage="ask")
    summary: dict[str, JSON] = {"trials": len(trials)}
    return Result((Output("answer", ANSWER_NAME, "application/json", answer),), summary)


def build_study(spec: SweepAskSpec) -> optuna.Study:
    """A study in memory that knows every trial of the spec."""
    import optuna

    settings = spec.settings
    seed = int(np.random.SeedSequence([settings.seed, len(spec.trials)]).generate_state(1)[0])
    if settings.sampler == "random":
        sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=seed)
    else:  # constant_liar: values near those of trials that still run are avoided
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=settings.startup_trials, constant_liar=True)
    study = optuna.create_study(direction=settings.direction, sampler=sampler)
    space = build_distributions(settings)
    for record in spec.trials:
        study.add_trial(build_trial(record, settings, space))
    return study


def build_trial(record: TrialRecord, settings: SweepSettings, space: dict[str, Any]) -> optuna.trial.FrozenTrial:
    """A trial as Optuna keeps it. Of a choice it knows the place in the list: there 1, 1.0 and true are three."""
    from optuna.trial import TrialState, create_trial

    states = {
        "running": TrialState.RUNNING,
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }
    params = {
        parameter.name: find_choice(parameter, value) if isinstance(parameter, ChoiceParameter) else value
        for parameter, value in zip(settings.space, record.values, strict=True)
    }
    is_pruned = record.state == "pruned" and record.objective is not None
    return create_trial(
        state=states[record.state],
        params=params,
        distributions=space,
        value=record.objective if record.state == "complete" else None,
        intermediate_values={record.step or 0: float(record.objective or 0.0)} if is_pruned else None,
    )


def find_choice(parameter: ChoiceParameter, value: Any) -> int:
    return [json.dumps(choice) for choice in parameter.choices].index(json.dumps(value))


def build_distributions(settings: SweepSettings) -> dict[str, Any]:
    return {parameter.name: build_distribution(parameter) for parameter in settings.space}


def build_distribution(parameter: Parameter) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, ChoiceParameter):
        return CategoricalDistribution(range(len(parameter.choices)))
    if isinstance(parameter, FloatParameter):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return IntDistribution(parameter.low, parameter.high, log=parameter.log)


def read_values(params: Mapping[str, Any], settings: SweepSettings) -> list[Any]:
    """The values that Optuna chose, in the order of the space."""
    return [
        parameter.choices[params[parameter.name]] if isinstance(parameter, ChoiceParameter) else params[parameter.name]
        for parameter in settings.space
    ]


def compute_importance(study: optuna.Study) -> dict[str, float]:
    """{parameter: its share} by PED-ANOVA (Watanabe, Bansal and Hutter, 2023), the greatest first.

    Empty with fewer than MIN_IMPORTANCE_TRIALS complete trials, or where all of them came to the same.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    values = {trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
    complete = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    if complete < MIN_IMPORTANCE_TRIALS or len(values) < 2:
        return {}
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: round(share, 6) for name, share in shares.items() if math.isfinite(share)}
