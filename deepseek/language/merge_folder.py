"""`merge` as the command line has it: an adapter is the folder that its training made."""

from collections.abc import Mapping
from pathlib import Path

from deepseek.job import Report, Result
from deepseek.language import merge
from deepseek.language.spec import BASE, MergeSpec
from deepseek.models.folder import find_model_files


def run(spec: MergeSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """As `deepseek.language.merge.run`, of the base's folder and the adapter's."""
    return merge.run(spec, inputs={BASE: inputs[BASE], **find_model_files(inputs["adapter"])}, out=out, report=report)
