"""The folder that a device takes: the library, TVM's runtime, loaders, and all that a program needs to use them."""

import gzip
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast

import torch
from pydantic import BaseModel, ConfigDict, Field

from deepseek.compile.compiler import Compiler
from deepseek.compile.runtime import LIBRARIES, ORT, Runtime, find_headers, find_runtime, list_licenses, list_wheels
from deepseek.compile.target import Target
from deepseek.compile.verification import VERIFICATION_NAME, Verification
from deepseek.entities.vocabulary import Assets
from deepseek.export.document import (
    FileRecord,
    TensorShape,
    build_axes,
    describe_postprocessing,
    describe_preprocessing,
    describe_tensors,
    list_tool_versions,
    write_vocabulary,
)
from deepseek.export.examples import TRACED, build_draw
from deepseek.export.forms import export_program, list_missing_packages, open_onnx, write_onnx
from deepseek.messages import N_, Message
from deepseek.models.manifest import FILE_NAMES, MANIFEST_NAME, Digest, ModelManifest, compute_file_sha256
from deepseek.models.source import Source, measure_gap
from deepseek.models.trainable import Trainable

SCHEMA: Final = "plane/bundle/v1"
BUNDLE_NAME = "bundle.tar.gz"
BUNDLE_TYPE = "application/vnd.plane.bundle+gzip"
DOCUMENT_NAME, SIGNATURE_NAME, SUMS_NAME, README_NAME = "manifest.json", "signature.txt", "SHA256SUMS", "README.md"
PROGRAM_NAME, LIBRARY_NAME = "run_model", "libbundle.so"
SOURCES = ("bundle.cpp", "load_model.py")
ONNX_NAME = "model.onnx"
OPTIONS = ("-std=c++17", "-O2", "-s", "-Iinclude", "bundle.cpp")
LINKED = ("-Llib", "-ltvm_ffi", "-ldl", "-Wl,-rpath,$ORIGIN/lib", "-Wl,--allow-shlib-undefined")
_LOADERS: dict[tuple[str, ...], dict[str, bytes]] = {}
BUILT = {PROGRAM_NAME: ("-DBUNDLE_PROGRAM",), LIBRARY_NAME: ("-shared", "-fPIC")}
"""What is built of the loader in C++ -> the options that it takes beside those of both."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TargetRecord(_Record):
    """What the code is for."""

    triple: str
    arch: str
    mcpu: str
    mattr: list[str]


class Alternative(_Record):
    """Another way to run the model on the device."""

    runtime: str
    file: str
    wheels: list[str]  # of the device's machine, one for each version of Python that the site carries
    max_rel_difference: float  # from PyTorch, on the machine that made the bundle
    measured_on_device: bool = False


class BundleManifest(_Record):
    """``manifest.json``. Equal bundles give equal bytes: no time in it."""

    schema_: str = Field(SCHEMA, alias="schema")
    variant: str
    family: str
    task: str
    target: str
    machine: TargetRecord
    tuned: bool
    batch: int
    parent: Digest | None
    model: Digest  # of model.so
    inputs: list[TensorShape]
    outputs: list[TensorShape]
    classes: list[str]
    preprocessing: dict[str, Any]
    postprocessing: dict[str, Any]
    alternatives: list[Alternative]
    left_out: dict[str, str] = {}  # another runtime -> why it is no alternative
    tools: dict[str, str]
    files: dict[str, FileRecord]  # all but the headers, which SHA256SUMS names too

    def to_json(self) -> str:
        """The bytes of ``manifest.json``."""
        document = self.model_dump(mode="json", by_alias=True)
        return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n"


@dataclass(frozen=True)
class Bundle:
    """A bundle that is being made in `folder`. `fault`: why there is no program in it that could run.

    `answer`: the shape of the outputs of one row.
    """

    folder: Path
    fault: Message | None
    answer: tuple[int, ...]

    @property
    def program(self) -> Path:
        """What runs the model on the target."""
        return self.folder / PROGRAM_NAME


def build_bundle(
    folder: Path, stage: Path, source: Source, target: Target, compiler: Compiler, *, tolerance: float
) -> Bundle:
    """Fill `folder` with ``model.so`` and ``model.json`` of `stage`, and with all that a device needs beside them.

    `tolerance`: what the relative difference of an alternative from PyTorch may be.

    What cannot be had here, a runtime or a loader, is left out; the fault says so.
    """
    manifest, network = ModelManifest.read(stage / MANIFEST_NAME), source.network
    assets = cast("Assets | None", getattr(source, "assets", None))  # of a model of texts
    for name in (FILE_NAMES["tvm"], MANIFEST_NAME):
        os.link(stage / name, folder / name)
    for name in SOURCES:
        (folder / name).write_bytes((files("deepseek.compile.loaders") / name).read_bytes())
    shutil.copytree(find_headers(), folder / "include", ignore=shutil.ignore_patterns("cuda", "tvm_ffi_python_*"))
    (folder / "licenses").mkdir()
    for name, data in list_licenses().items():
        (folder / "licenses" / name).write_bytes(data)
    if assets:
        write_vocabulary(assets, folder)
    (folder / SIGNATURE_NAME).write_text(_render_signature(manifest), encoding="ascii")
    runtime = find_runtime(target)
    fault = runtime if isinstance(runtime, Message) else _add_loader(folder, runtime, compiler)
    options = _Alternatives() if target.is_native else _add_alternatives(folder, manifest, network, target, tolerance)
    document = _build_document(manifest, network, assets, target, options, folder)
    (folder / README_NAME).write_text(_render_readme(document, fault), encoding="utf-8", newline="")
    (folder / DOCUMENT_NAME).write_text(document.to_json(), encoding="utf-8", newline="")
    _write_sums(folder)
    return Bundle(folder, fault, tuple(int(length) for length in document.outputs[0].shape[1:]))


def pack_bundle(bundle: Bundle, verification: Verification, path: Path) -> None:
    """Put what was verified into the bundle, and pack it into the file `path`; equal bundles give equal bytes."""
    (bundle.folder / VERIFICATION_NAME).write_text(verification.to_json(), encoding="utf-8", newline="")
    _write_sums(bundle.folder)
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for source in _list_files(bundle.folder):
            name = source.relative_to(bundle.folder).as_posix()
            entry = tarfile.TarInfo(f"bundle/{name}")
            entry.size, entry.mode = source.stat().st_size, 0o755 if name == PROGRAM_NAME else 0o644
            with source.open("rb") as content:
                archive.addfile(entry, content)


def _add_loader(folder: Path, runtime: Runtime, compiler: Compiler) -> Message | None:
    """Write the libraries, and build the loader in C++; returns why it could not be built."""
    (folder / "lib").mkdir()
    for name, data in runtime.libraries.items():
        (folder / "lib" / name).write_bytes(data)
    try:
        for name, data in _build_loader(compiler, folder).items():
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o755)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        return Message(N_("The loader could not be built: {why}."), why=str(error))
    return None


def _build_loader(compiler: Compiler, folder: Path) -> dict[str, bytes]:
    """The program and the library of bundle.cpp, which are the same for every model: a process builds them once."""
    key = (*compiler.cxx, compiler.arch)
    if key not in _LOADERS:
        for name, words in BUILT.items():  # in the folder, so that its path is in no message of the program
            compiler.build_cxx(name, *OPTIONS, *words, *LINKED, folder=folder)
        _LOADERS[key] = {name: (folder / name).read_bytes() for name in BUILT}
    return _LOADERS[key]


def _write_sums(folder: Path) -> None:
    """``SHA256SUMS`` of every other file, as `sha256sum --check` and the loaders read it."""
    names = [path.relative_to(folder).as_posix() for path in _list_files(folder) if path.name != SUMS_NAME]
    lines = (f"{compute_file_sha256(folder / name)}  {name}\n" for name in names)
    (folder / SUMS_NAME).write_text("".join(lines), encoding="utf-8", newline="")


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _describe_batch(manifest: ModelManifest) -> dict[str, TensorShape]:
    """``input`` and ``output`` with the lengths that the library was compiled for."""
    lengths = {"rows": manifest.machine["batch"], "tokens": manifest.machine.get("length", 1)}
    entry, answer = (
        tensor.model_copy(update={"shape": [lengths.get(str(axis), axis) for axis in tensor.shape], "limits": {}})
        for tensor in describe_tensors(manifest, build_axes(manifest))
    )
    return {"input": entry, "output": answer}


def _render_signature(manifest: ModelManifest) -> str:
    """``signature.txt``, which the loader in C++ reads: the tensors, and for inputs of categories the code of none."""
    tensors = _describe_batch(manifest).items()
    lines = [f"{name} {tensor.dtype} {' '.join(map(str, tensor.shape))}" for name, tensor in tensors]
    lines += [f"codes {place} {len(codes)}" for place, codes in manifest.list_codes().items()]
    return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class _Alternatives:
    taken: list[Alternative] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def _add_alternatives(
    folder: Path, manifest: ModelManifest, network: Trainable, target: Target, tolerance: float
) -> _Alternatives:
    """The same network for ONNX Runtime, compared with PyTorch here; left out with the reason where it cannot be had.

    An alternative must not cost the bundle: whatever its writer or its runtime raise is a reason.
    """
    missing = list_missing_packages()
    if missing:
        return _Alternatives(left_out={ORT: f"not installed: {', '.join(missing)}"})
    axes, path = build_axes(manifest), folder / ONNX_NAME
    draw = build_draw(manifest.architecture, network, 0)
    rows = draw(*TRACED)
    try:
        write_onnx(export_program(network, rows, axes), path, axes)
        with torch.inference_mode():
            expected = network(rows).numpy()
        difference = measure_gap(open_onnx(path)(rows).numpy(), expected)[1]
    except Exception as error:  # noqa: BLE001  as said above
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    else:
        why = f"it differs from PyTorch by {difference:.3g} of {tolerance:g}" if not difference <= tolerance else ""
    if why:
        for part in folder.glob(f"{ONNX_NAME}*"):
            part.unlink()
        return _Alternatives(left_out={ORT: why})
    alternative = Alternative(
        runtime=f"{ORT} {version(ORT)}",
        file=ONNX_NAME,
        wheels=[wheel.name for wheel in list_wheels(ORT, target.arch, version(ORT))],
        max_rel_difference=difference,
    )
    return _Alternatives([alternative])


def _build_document(
    manifest: ModelManifest,
    network: Trainable,
    assets: Assets | None,
    target: Target,
    others: _Alternatives,
    folder: Path,
) -> BundleManifest:
    tensors = _describe_batch(manifest)
    built = [FileRecord(sha256=compute_file_sha256(path), size=path.stat().st_size) for path in _list_files(folder)]
    names = [path.relative_to(folder).as_posix() for path in _list_files(folder)]
    return BundleManifest(
        schema=SCHEMA,
        variant=manifest.variant,
        family=manifest.architecture.type,
        task=manifest.task,
        target=manifest.target,
        machine=TargetRecord(
            triple=manifest.machine["triple"], arch=target.arch, mcpu=manifest.machine["mcpu"], mattr=list(target.mattr)
        ),
        tuned=manifest.machine["tuned"],
        batch=manifest.machine["batch"],
        parent=manifest.parent,
        model=manifest.file.sha256,
        inputs=[tensors["input"]],
        outputs=[tensors["output"]],
        classes=manifest.classes,
        preprocessing=describe_preprocessing(manifest, network, assets),
        postprocessing=describe_postprocessing(manifest, assets),
        alternatives=others.taken,
        left_out=others.left_out,
        tools={**list_tool_versions(), **{name: version(name) for name, _ in LIBRARIES.values()}},
        files={name: record for name, record in zip(names, built, strict=True) if not name.startswith("include/")},
    )


def _render_readme(document: BundleManifest, fault: Message | None) -> str:
    """How to run the model on the device."""
    entry, answer = document.inputs[0], document.outputs[0]
    build = {
        name: " ".join(map(_quote, ["g++", *OPTIONS, *words, "-o", name, *LINKED])) for name, words in BUILT.items()
    }
    lines = [
        f"# {document.variant}: {document.target}, for {document.machine.triple}\n",
        f"1. `./{PROGRAM_NAME} . rows.bin answers.bin 100`: {entry.dtype} rows of {entry.shape[1:]} to "
        f"{answer.dtype} rows of {answer.shape[1:]}; 100 calls are timed.",
        "2. `python3 -c 'from load_model import Model; print(Model(\".\").input)'`: the same from Python.",
        f"3. `{build[PROGRAM_NAME]}` and `{build[LIBRARY_NAME]}` build both on the device, where they do not start.\n",
        f"{DOCUMENT_NAME} says what goes in and what comes out, {VERIFICATION_NAME} what was compared with PyTorch.",
    ]
    if fault:
        lines.append(f"{PROGRAM_NAME} and {LIBRARY_NAME} are not in this bundle: {fault}")
    if not document.tuned:
        lines.append("The code is not tuned for the device: measure it there before choosing it.")
    for peer in document.alternatives:
        where = ", ".join(peer.wheels) or f"its wheel for {document.machine.arch}"
        lines.append(
            f"{peer.file} with {peer.runtime} ({where}) is an alternative. It is not tuned either, and neither was "
            "measured on the device."
        )
    lines += [f"There is no form for {runtime}: {why}." for runtime, why in document.left_out.items()]
    return "\n".join(lines) + "\n"


def _quote(word: str) -> str:
    return f"'{word}'" if "$" in word else word
