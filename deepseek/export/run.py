"""Export one trained model: the entry point of the capability."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from deepseek.entities.vocabulary import Assets, read_model_assets
from deepseek.export.document import (
    EXPORT_MANIFEST_NAME,
    EXPORT_MANIFEST_TYPE,
    VOCABULARY_NAME,
    Comparison,
    ExportManifest,
    FormRecord,
    build_axes,
    describe_postprocessing,
    describe_preprocessing,
    describe_tensors,
    digest_files,
    list_tool_versions,
    summarize_differences,
    write_vocabulary,
)
from deepseek.export.examples import COMPARED, TRACED, build_draw
from deepseek.export.faults import translate_failure
from deepseek.export.figures import write_form_figures
from deepseek.export.forms import (
    FILE_NAMES,
    MEDIA_TYPES,
    ONNX_PACKAGES,
    OPENERS,
    Axes,
    export_program,
    list_missing_packages,
    trace,
    write_onnx,
    write_pt2,
    write_torchscript,
)
from deepseek.export.spec import ExportSpec
from deepseek.job import EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_
from deepseek.models.figures import FIGURES_NAME, FIGURES_TYPE
from deepseek.models.heldout import Heldout, read_heldout
from deepseek.models.manifest import (
    MANIFEST_NAME,
    MANIFEST_TYPE,
    EntitiesArchitecture,
    LanguageArchitecture,
    ModelFile,
    ModelManifest,
    compute_file_sha256,
)
from deepseek.models.network import load_network
from deepseek.models.source import measure_gap
from deepseek.models.trainable import Trainable

HELDOUT_SLOT = "heldout"
ONNX_DATA_NAME = "model.onnx.data"


def run(spec: ExportSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Export the trained model in the slots ``model`` and ``manifest``.

    Writes the forms, ``manifest.json``, and ``model.json`` where `deepseek serve` and `evaluate` take the TorchScript
    form (or pt2, where that is left out), into the folder `out`. Each form is opened again and compared with PyTorch on
    fresh inputs of several sizes.
    With held-out rows in the slot ``heldout`` that form is measured on them too (``figures.json``), so that it can be
    registered.

    Raises EngineError: ``family_unsupported``, ``package_missing``, ``export_branch``, ``export_operator``,
    ``export_failed``, ``export_differs``, ``wrong_inputs``, and what `load_network` and `read_heldout` do; then, as
    after a crash, there is no `out`.
    """
    forms, left_out = choose_forms(spec)
    manifest = ModelManifest.read(inputs["manifest"])
    if isinstance(manifest.architecture, LanguageArchitecture):
        raise _build_family_error(manifest)
    heldout = _read_rows(inputs, manifest)
    with stage_outputs(out) as stage:
        report.progress(0, len(forms), "forms", stage="export")
        network = load_network(manifest, inputs["model"])
        assets = None
        if isinstance(manifest.architecture, EntitiesArchitecture):
            assets = read_model_assets(inputs["model"], manifest.architecture)
            write_vocabulary(assets, stage)
        records = _write_forms(spec, forms, manifest, network, stage, report)
        digests = {slot: compute_file_sha256(path) for slot, path in inputs.items()}
        served = choose_served_form(forms)
        if served and assets is None:
            form = _write_model_json(served, stage, manifest, digests, spec)
            if heldout is not None:
                report.progress(0, None, "rows", stage="compare")
                opened = OPENERS[served](stage / form.file.name)
                write_form_figures(stage, manifest, form, heldout, network, opened)
        document = _build_document(manifest, network, assets, stage, records, left_out, digests)
        (stage / EXPORT_MANIFEST_NAME).write_text(document.to_json(), encoding="utf-8", newline="")
        for name, why in left_out.items():
            report.log(f"{name} is left out: {why}", level="warning")
        outputs = _list_outputs(document)
    for form_name, difference in summarize_differences(records).items():
        report.metric(f"difference_{form_name}", difference)
        report.metric(f"size_bytes_{form_name}", document.files[FILE_NAMES[form_name]].size)
    return Result(
        outputs=outputs,
        summary={
            "family": manifest.architecture.type,
            "largest relative difference": dict(summarize_differences(records)),
            "left out": left_out,
        },
    )


def _read_rows(inputs: Mapping[str, Path], manifest: ModelManifest) -> Heldout | None:
    """The held-out rows, where they are given. Raises EngineError ``wrong_inputs`` for a model of texts."""
    if HELDOUT_SLOT not in inputs:
        return None
    if isinstance(manifest.architecture, EntitiesArchitecture):
        raise EngineError(
            "wrong_inputs",
            "{verb} takes a trained model and its manifest; of a model of texts no held-out rows.",
            verb="Exporting",
            field=f"inputs/{HELDOUT_SLOT}",
            value=HELDOUT_SLOT,
            limit="model, manifest",
            hint=N_("Leave the held-out texts out: no form of such a model is measured on them."),
        )
    return read_heldout(inputs[HELDOUT_SLOT], manifest)


def choose_forms(spec: ExportSpec) -> tuple[list[str], dict[str, str]]:
    """The forms to write, and why one is left out. Raises EngineError ``package_missing`` for one that was named."""
    missing = list_missing_packages()
    if not missing or (spec.forms and "onnx" not in spec.forms):
        return [form for form in FILE_NAMES if form in (spec.forms or FILE_NAMES)], {}
    if spec.forms:
        raise EngineError(
            "package_missing",
            "The form onnx needs the packages {packages}.",
            packages=", ".join(ONNX_PACKAGES),
            field="/forms",
            value=f"not installed: {', '.join(missing)}",
            limit=", ".join(ONNX_PACKAGES),
            hint=N_("Install them: python -m pip install 'deepseek-offline[onnx]', or leave the form out."),
        )
    why = f"not installed: {', '.join(missing)} (python -m pip install 'deepseek-offline[onnx]')"
    return [form for form in FILE_NAMES if form != "onnx"], {"onnx": why}


def _write_forms(
    spec: ExportSpec, forms: Sequence[str], manifest: ModelManifest, network: Trainable, stage: Path, report: Report
) -> list[FormRecord]:
    """Write each form, open it again and compare it."""
    axes, draw = build_axes(manifest), build_draw(manifest.architecture, network, spec.seed)
    example, fresh = draw(*TRACED), [draw(*size) for size in COMPARED]
    with translate_failure("torchscript", [form for form in forms if form != "torchscript"]):
        traced = trace(network, example)  # whatever the forms: this alone names the line of a branch
    records, program = list[FormRecord](), None
    for place, form in enumerate(forms):
        path = stage / FILE_NAMES[form]
        with translate_failure(form, [peer for peer in forms if peer != form]):
            if form == "torchscript":
                write_torchscript(traced, path)
            else:
                program = program or export_program(network, example, axes)
                _write_program(form, program, path, axes)
            records.append(_compare(form, path, network, fresh, spec.tolerance))
        report.progress(place + 1, len(forms), "forms", stage="export")
    return records


def _write_program(form: str, program: torch.export.ExportedProgram, path: Path, axes: Axes) -> None:
    if form == "pt2":
        write_pt2(program, path)
    else:
        write_onnx(program, path, axes)


def _compare(form: str, path: Path, network: Trainable, fresh: Sequence[Tensor], tolerance: float) -> FormRecord:
    """Raises EngineError ``export_differs`` where the file gives other outputs than the network."""
    forward, comparisons = OPENERS[form](path), list[Comparison]()
    for values in fresh:
        with torch.inference_mode():
            expected = network(values).numpy()
        with torch.no_grad():
            outputs = forward(values).numpy()
        same_shape = outputs.shape == expected.shape
        largest, relative = measure_gap(outputs, expected) if same_shape else (float("inf"), float("inf"))
        if not relative <= tolerance:
            raise EngineError(
                "export_differs",
                "The form {form} gives other outputs than PyTorch for an input of shape {shape}.",
                form=form,
                shape=" x ".join(map(str, values.shape)),
                field="inputs/model",
                value=f"a relative difference of {relative:.3g}" if same_shape else f"outputs of {outputs.shape}",
                limit=f"{tolerance:g}",
                hint=N_("Look for extreme weights; allow more with --tolerance, or leave the form out with --forms."),
            )
        comparisons.append(
            Comparison(shape=list(values.shape), max_abs_difference=largest, max_rel_difference=relative)
        )
    return FormRecord(form=form, file=path.name, tolerance=tolerance, comparisons=comparisons)


def choose_served_form(forms: Sequence[str]) -> str | None:
    """The form that ``model.json`` is of: TorchScript, or pt2 where that is left out."""
    return next((form for form in ("torchscript", "pt2") if form in forms), None)


def _write_model_json(
    served: str, stage: Path, manifest: ModelManifest, digests: Mapping[str, str], spec: ExportSpec
) -> ModelManifest:
    """``model.json`` of one form, as the loaders of this project read it."""
    path = stage / FILE_NAMES[served]
    form = manifest.model_copy(
        update={
            "variant": served,
            "format": served,
            "file": ModelFile(name=path.name, sha256=compute_file_sha256(path), size=path.stat().st_size),
            "parent": digests["manifest"],
            "inputs": dict(digests),
            "spec": spec.model_dump(mode="json"),
        }
    )
    (stage / MANIFEST_NAME).write_text(form.to_json(), encoding="utf-8", newline="")
    return form


def _build_document(
    manifest: ModelManifest,
    network: Trainable,
    assets: Assets | None,
    stage: Path,
    records: list[FormRecord],
    left_out: dict[str, str],
    digests: Mapping[str, str],
) -> ExportManifest:
    entry, output = describe_tensors(manifest, build_axes(manifest))
    return ExportManifest(
        schema="plane/export/v1",
        family=manifest.architecture.type,
        task=manifest.task,
        target=manifest.target,
        parent=digests["manifest"],
        model=digests["model"],
        inputs=[entry],
        outputs=[output],
        classes=manifest.classes,
        preprocessing=describe_preprocessing(manifest, network, assets),
        postprocessing=describe_postprocessing(manifest, assets),
        forms=records,
        left_out=left_out,
        tools=list_tool_versions(),
        files=digest_files(stage),
    )


def _list_outputs(document: ExportManifest) -> tuple[Output, ...]:
    """The form of ``model.json`` as other kinds give a model: in the slots ``model``, ``manifest``, ``figures``."""
    slots = {choose_served_form([record.form for record in document.forms]): "model"}
    outputs = [
        Output(slots.get(record.form, record.form), record.file, MEDIA_TYPES[record.form], {"variant": record.form})
        for record in document.forms
    ]
    rest = {
        ONNX_DATA_NAME: ("onnx_data", "application/octet-stream"),
        VOCABULARY_NAME: ("vocabulary", "application/json"),
        MANIFEST_NAME: ("manifest", MANIFEST_TYPE),
        FIGURES_NAME: ("figures", FIGURES_TYPE),
    }
    outputs += [Output(slot, name, kind) for name, (slot, kind) in rest.items() if name in document.files]
    return (*outputs, Output("export", EXPORT_MANIFEST_NAME, EXPORT_MANIFEST_TYPE))


def _build_family_error(manifest: ModelManifest) -> EngineError:
    return EngineError(
        "family_unsupported",
        "Exporting takes models of tables, series, images and entities; this one is of the family {family}.",
        family=manifest.architecture.type,
        field="inputs/manifest",
        value=manifest.architecture.type,
        limit="mlp, image, entities",
        hint=N_("Its folder is that of Hugging Face's transformers already: give programs that folder."),
    )
