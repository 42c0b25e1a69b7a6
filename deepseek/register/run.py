"""Check that the forms of one model belong together, and describe them as a version."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.job import JSON, EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_
from deepseek.models.figures import Figures
from deepseek.models.manifest import ModelManifest, check_file, compute_file_sha256
from deepseek.register.spec import QUANTIZED_FORMS, RegisterSpec

SCHEMA = "plane/model-version/v1"
VERSION_NAME = "version.json"
VERSION_TYPE = "application/vnd.plane.model-version+json"
TRAINED, *DERIVED = FORMS = ("fp32", "int8", "compiled", "exported", *QUANTIZED_FORMS)
SAME = ("task", "target", "features", "classes", "categories", "signature")  # of every form of one model
MAX_VALUE_CHARACTERS = 200  # characters of a value in an error


@dataclass(frozen=True)
class Form:
    """One form of the model: the slot it came in by, its two documents, and the digest of its manifest's bytes."""

    slot: str
    manifest: ModelManifest
    manifest_digest: str
    figures: Figures


def run(spec: RegisterSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Read every form that is given, compare them, and write ``version.json``.

    `inputs`: ``fp32``, ``fp32_manifest``, ``fp32_figures``; the same three of ``int8``, ``compiled``, ``exported`` and
    each of `QUANTIZED_FORMS` where there are such. Output ``version``: canonical JSON (``plane/model-version/v1``),
    whose meta is the whole document. Equal inputs give equal bytes.

    Raises EngineError ``input_missing`` naming the slot that a form lacks, ``manifest_unreadable``,
    ``figures_unreadable``, ``model_tampered``, ``variant_twice``, or ``forms_differ`` with the field and both values.
    """
    form_names = [name for name in FORMS if name == TRAINED or any(slot in inputs for slot in get_slots(name))]
    forms = []
    for done, name in enumerate(form_names):
        report.progress(done, len(form_names), "forms", stage="check")
        forms.append(read_form(name, inputs))
    check_together(forms)
    report.progress(len(form_names), len(form_names), "forms", stage="check")
    document = build_version_document(forms, spec.note)
    with stage_outputs(out) as stage:
        (stage / VERSION_NAME).write_text(render_canonical_json(document), encoding="utf-8", newline="")
    names: list[JSON] = [form.manifest.variant for form in forms]
    summary: dict[str, JSON] = {"task": forms[0].manifest.task, "target": forms[0].manifest.target, "variants": names}
    return Result((Output("version", VERSION_NAME, VERSION_TYPE, document),), summary)


def get_slots(form: str) -> tuple[str, str, str]:
    """The slots that a form fills: its file, its manifest, its figures."""
    return form, f"{form}_manifest", f"{form}_figures"


def read_form(name: str, inputs: Mapping[str, Path]) -> Form:
    """The form in the slots of `name`, its file compared with its manifest, its figures with both."""
    missing = next((slot for slot in get_slots(name) if slot not in inputs), None)
    if missing is not None:
        raise EngineError(
            "input_missing",
            "The input {missing} is not filled: a form comes with its manifest and its figures.",
            missing=missing,
            field=f"inputs/{missing}",
            limit=", ".join(get_slots(name)),
            hint=N_("Give the three files that lie beside each other."),
        )
    model, manifest_at, figures_at = (inputs[slot] for slot in get_slots(name))
    manifest = ModelManifest.read(manifest_at, f"{name}_manifest")
    check_file(manifest, model, name)
    form = Form(name, manifest, compute_file_sha256(manifest_at), Figures.read(figures_at, f"{name}_figures"))
    for field, value, limit in (
        ("variant", form.figures.variant, manifest.variant),
        ("size_bytes", form.figures.size_bytes, manifest.file.size),
    ):
        if value != limit:
            raise build_difference_error(f"{name}_figures", field, value, limit, f"the manifest of {name}")
    return form


def check_together(forms: Sequence[Form]) -> None:
    """Raise EngineError unless the first form was trained, the others were made from it, and all do the same."""
    trained, variants = forms[0], set[str]()
    for form in forms:
        parent = None if form is trained else trained.manifest_digest
        expectations = [("parent", form.manifest.parent, parent)]
        expectations += [(name, getattr(form.manifest, name), getattr(trained.manifest, name)) for name in SAME]
        for field, value, limit in expectations:
            if value != limit:
                raise build_difference_error(f"{form.slot}_manifest", field, value, limit, "the form that was trained")
        if form.manifest.variant in variants:
            raise EngineError(
                "variant_twice",
                "Two forms are called {variant}.",
                variant=form.manifest.variant,
                field=f"inputs/{form.slot}_manifest",
                value=form.manifest.variant,
                limit="every variant once",
                hint=N_("Leave one of them out."),
            )
        variants.add(form.manifest.variant)


def build_difference_error(slot: str, field: str, value: Any, limit: Any, of: str) -> EngineError:
    """The error for a field that is not what it is in the form, or the manifest, that it belongs to."""
    actual, expected = format_value(value), format_value(limit)
    return EngineError(
        "forms_differ",
        "{slot}: {name} is {found}, and {wanted} in {of}.",
        slot=slot,
        name=field,
        found=actual,
        wanted=expected,
        of=of,
        field=f"inputs/{slot}",
        value=actual,
        limit=expected,
        hint=N_("Give forms of one model: those that were made from the fp32 given."),
    )


def format_value(value: Any) -> str:
    """A value of a manifest as an error quotes it."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[:MAX_VALUE_CHARACTERS]}..."


def build_version_document(forms: Sequence[Form], note: str) -> dict[str, JSON]:
    """What ``version.json`` says: what the model does, on what it was trained, and each variant with its figures."""
    trained = forms[0].manifest.model_dump(mode="json", by_alias=True)
    return {
        "schema": SCHEMA,
        **{name: trained[name] for name in (*SAME, "architecture", "inputs", "spec") if name in trained},
        "note": note,
        "variants": list(list_variants(forms)),
    }


def list_variants(forms: Sequence[Form]) -> Iterator[dict[str, JSON]]:
    for form in forms:
        manifest = form.manifest
        yield {
            "name": manifest.variant,
            "slot": form.slot,
            "format": manifest.format,
            "model": manifest.file.sha256,
            "file": manifest.file.name,
            "size": manifest.file.size,
            "manifest": form.manifest_digest,
            "parent": manifest.parent,
            "heldout": manifest.inputs.get("heldout"),  # the rows that its figures were measured on, where it took them
            "machine": manifest.machine,
            "figures": form.figures.model_dump(mode="json", by_alias=True),
        }


def render_canonical_json(document: Mapping[str, JSON]) -> str:
    """The bytes of ``version.json``, whose digest names the version."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"
