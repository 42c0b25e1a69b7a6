"""Fields of an evaluation that are of tables alone."""

from collections.abc import Sequence

from deepseek.evaluate.spec import EvaluateSpec
from deepseek.job import EngineError
from deepseek.messages import N_

TABLE_FIELDS = ("slices", "group", "positive", "horizon")


def refuse_table_fields(spec: EvaluateSpec, task: str, fields: Sequence[str] = TABLE_FIELDS) -> None:
    """Raise EngineError ``family_unsupported`` where one of the fields is filled: a model of texts or images has no use
    for it."""
    for name in fields:
        if value := getattr(spec, name):
            raise EngineError(
                "family_unsupported",
                "Evaluating a model of the task {task} takes no {name}, which is of tables alone.",
                task=task,
                name=name,
                field=f"/{name}",
                value=str(value)[:100],
                limit="none",
                hint=N_("Leave the field empty."),
            )
