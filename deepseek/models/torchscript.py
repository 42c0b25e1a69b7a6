"""TorchScript files: written so that equal models give equal bytes, and opened only if they do nothing but compute.

Such a file is a zip of tensors and of code in TorchScript's own language. The code can call any operator of torch, and
some of them write or read files, so a file from elsewhere is a program. What this project writes is one frozen module:
constants, and a ``forward`` of a few operators. `torch.jit.trace(model, example).save(path)` writes one module for each
layer, whose ``forward`` calls those below it. Whatever calls another operator is refused before torch sees it.

torch reads a zip in its own way: it finds names whatever their case, and older layouts under other names. So it never
gets the file itself, but an archive made anew of just the entries that were checked.
"""

import io
import pickletools
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.torchscript_code import find_forbidden_call
from deepseek.models.unsafe_file import build_unsafe_error

_MANGLED = re.compile(rb"___torch_mangle_\d+")
_LEFT_OUT = (".debug_pkl", "/serialization_id")
_ENTRY = re.compile(
    r"(?:data|constants)(?:\.pkl|/[0-9]+)|(?:\.data/)?version|byteorder|\.format_version|\.storage_alignment"
    r"|(?P<code>code/__torch__(?:/\w+)*\.py)"
    r"|(?P<left_out>code/__torch__(?:/\w+)*\.py\.debug_pkl|\.data/serialization_id"
    r"|traced_inputs(?:\.pkl|/[0-9]+))",
    re.ASCII,
)
"""What a model file holds, below one folder; anything else could be code in a place where nobody looks for it."""
_CODE_LIMIT = 1 << 20  # bytes of code; an MLP of 32 layers has some 10 kB
_TUPLE = r"(?:EMPTY_TUPLE|MARK(?: [0-9]+)* TUPLE)"
_TENSOR = re.compile(
    r"MARK 'storage @torch\.(?P<type>\w+) '(?P<key>[0-9]+) 'cpu (?P<held>[0-9]+) TUPLE BINPERSID "
    rf"(?P<offset>[0-9]+) (?P<size>{_TUPLE}) (?P<stride>{_TUPLE})(?= )",
    re.ASCII,
)
_WIDTHS = {"FloatStorage": 4, "DoubleStorage": 8, "LongStorage": 8, "QInt8Storage": 1}  # bytes of a value


def write_archive(module: torch.jit.ScriptModule, path: Path) -> None:
    """Save a frozen module. Equal models give equal bytes, in whatever process and folder they were made.

    torch's own archive numbers classes by a counter of the process and quotes the paths of source files; here the
    numbers start at 0 and the quotes are left out.
    """
    buffer, numbers = io.BytesIO(), dict[bytes, bytes]()

    def renumber(data: bytes) -> bytes:
        return _MANGLED.sub(lambda m: numbers.setdefault(m[0], b"___torch_mangle_%d" % len(numbers)), data)

    with _filter_deprecation():
        torch.jit.save(module, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            if entry.filename.endswith(_LEFT_OUT):
                continue
            data = source.read(entry)
            if entry.filename.endswith((".py", ".pkl")):  # names stand on lines of their own: lengths may change
                data = renumber(data)
            target.writestr(zipfile.ZipInfo(renumber(entry.filename.encode()).decode()), data)


def read_archive(path: Path, slot: str = "model") -> torch.jit.ScriptModule:
    """The module in the file at `path`.

    Raises EngineError ``model_unsafe`` (a pickle, or code that calls anything but the operators of a perceptron) or
    ``model_unreadable``; neither file is opened by torch.
    """
    archive = _rebuild_archive(path, slot)
    try:
        with _filter_deprecation():
            return torch.jit.load(archive, map_location="cpu")  # type: ignore[no-any-return, no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise build_archive_error(path, slot, str(error).splitlines()[0][:200]) from error


@contextmanager
def _filter_deprecation() -> Iterator[None]:
    """TorchScript is what the source text names; torch 2.13 says at each call that torch.export is its heir."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def build_archive_error(path: Path, slot: str, why: str) -> EngineError:
    return EngineError(
        "model_unreadable",
        "{path_name} is no TorchScript file: {why}",
        path_name=path.name,
        why=why,
        field=f"inputs/{slot}",
        value=path.name,
        limit="a file that `deepseek quantize` wrote",
        hint=N_("The file may be cut short; copy it again and compare its SHA-256 with the manifest."),
    )


def _build_unsafe_error(path: Path, slot: str, what: str, value: str) -> EngineError:
    limit, hint = "a TorchScript file that only computes", N_("Quantize the trained model here.")
    return build_unsafe_error(path, what, limit=limit, hint=hint, slot=slot, value=value)


def _rebuild_archive(path: Path, slot: str) -> io.BytesIO:
    """The archive at `path`, made anew of its entries, once each was found to be of a model that only computes."""
    try:
        with path.open("rb") as file:
            if file.read(1) == b"\x80":
                raise _build_unsafe_error(path, slot, "is a pickle: opening it could run any code", path.name)
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(entry) for name, entry in _list_entries(archive, path, slot).items()}
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise build_archive_error(path, slot, f"{error}.") from error
    forbidden = find_forbidden_call({name: data for name, data in entries.items() if name.startswith("code/")})
    if forbidden is not None:
        raise _build_unsafe_error(path, slot, "calls what a perceptron does not need", forbidden)
    for folder in ("data", "constants"):
        if _has_oversized_tensor(entries.get(f"{folder}.pkl", b""), folder, entries):
            raise _build_unsafe_error(path, slot, "has a tensor that is larger than its bytes", f"{folder}.pkl")
    rebuilt = io.BytesIO()
    with zipfile.ZipFile(rebuilt, "w") as target:
        for name, data in entries.items():
            target.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    rebuilt.seek(0)
    return rebuilt


def _list_entries(archive: zipfile.ZipFile, path: Path, slot: str) -> dict[str, zipfile.ZipInfo]:
    """The entries to read by their name below the archive's one folder, without those that only help to debug.

    Raises EngineError ``model_unsafe`` unless each is of those that a model has, there once and as large as it says.
    """
    listed = archive.infolist()
    if not any(entry.filename.endswith("/constants.pkl") for entry in listed):
        raise _build_unsafe_error(
            path, slot, "is a pickle, as torch.save writes: opening it could run any code", path.name
        )
    folder, accepted, code = listed[0].filename.partition("/")[0], dict[str, zipfile.ZipInfo](), 0
    folded = set[str]()
    for entry in listed:
        top, _, name = entry.filename.partition("/")
        match = _ENTRY.fullmatch(name)
        if match is None or top != folder or name.lower() in folded:
            raise _build_unsafe_error(path, slot, "holds what a model does not need", entry.filename[:100])
        folded.add(name.lower())
        if match["code"]:
            code += entry.file_size
        if not match["left_out"]:
            accepted[name] = entry
    if sum(entry.file_size for entry in accepted.values()) > path.stat().st_size:
        raise _build_unsafe_error(path, slot, "grows when it is unpacked", f"over {path.stat().st_size} bytes")
    if not code:
        raise _build_unsafe_error(
            path, slot, "is a pickle, as torch.save writes: opening it could run any code", path.name
        )
    if code > _CODE_LIMIT:
        raise _build_unsafe_error(path, slot, "holds more code than a perceptron has", f"over {_CODE_LIMIT} bytes")
    return accepted


def _has_oversized_tensor(pickled: bytes, folder: str, entries: Mapping[str, bytes]) -> bool:
    """Whether a tensor of a list of tensors (data.pkl, constants.pkl) may reach beyond the bytes that it has, or is not
    written as torch writes it. torch does not look: such a tensor shows what else is in memory. Nothing is unpickled.
    """
    words: list[str] = []
    memo: dict[object, str] = {}
    try:
        for operation, value, _ in pickletools.genops(pickled) if pickled else ():
            if operation.name in ("BINPUT", "LONG_BINPUT"):
                memo[value] = words[-1] if words[-1].startswith(("'", "@")) else "?"
            elif operation.name in ("BINGET", "LONG_BINGET"):
                words.append(memo[value])
            else:  # what the file says must not pass for what it does
                mark = {"BINUNICODE": "'", "GLOBAL": "@"}.get(operation.name, "")
                literal = mark or isinstance(value, int)
                words.append(mark + str(value).replace(" ", ".") if literal else operation.name)
    except (ValueError, LookupError):
        return True
    tensors = list(_TENSOR.finditer(" ".join(words)))
    return len(tensors) != words.count("BINPERSID") or any(_is_short(tensor, folder, entries) for tensor in tensors)


def _is_short(tensor: re.Match[str], folder: str, entries: Mapping[str, bytes]) -> bool:
    size, stride = ([int(word) for word in tensor[name].split()[1:-1]] for name in ("size", "stride"))
    width, stored = _WIDTHS.get(tensor["type"], 0), int(tensor["held"])
    reach = int(tensor["offset"]) + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=False) if n)
    complete = stored * width == len(entries.get(f"{folder}/{tensor['key']}", b""))
    return not (width and complete and len(size) == len(stride) and (reach <= stored or 0 in size))
