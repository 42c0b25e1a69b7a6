"""Datasets and models of a plane, with their versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.client.downloads import RemoteFile, fetch_files
from deepseek.client.errors import ClientError, PlaneRefusal
from deepseek.client.jobs import JobHandle
from deepseek.client.references import VersionReference, normalise_version
from deepseek.client.transport import quote_part

if TYPE_CHECKING:
    from deepseek.client.plane import Plane

TABLE_TYPES = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".arrow": "application/vnd.apache.arrow.file",
}
"""Files that the plane reads as tables, by their suffix, in lower case."""
MAX_FILES_PER_VERSION = 10_000  # of one request
MANIFEST, HELDOUT = "model.json", "heldout.safetensors"


class DatasetHandle:
    """A dataset by its name; nothing is asked of the plane before a method is called."""

    def __init__(self, plane: Plane, name: str) -> None:
        self.plane, self.name = plane, name

    @property
    def _path(self) -> str:
        return f"/datasets/{quote_part(self.name)}"

    def versions(self) -> Iterator[dict[str, Any]]:
        """Its versions, newest first: number, digest, rows, size, media_type, job, note..."""
        return self.plane.iterate(f"{self._path}/versions")

    def version(self, version: str | int) -> dict[str, Any]:
        """One version by its number (3 or "v3"), tag or digest. Raises ClientError ``version_unknown``."""
        path = f"{self._path}/versions"
        return _get_version(self.plane, path, self.name, normalise_version(version), "deepseek data ls")

    def download(self, version: str | int, out: str | Path) -> list[Path]:
        """Download the files of a version into the folder `out`, verified."""
        number = self.version(version)["number"]
        rows = self.plane.iterate(f"{self._path}/versions/{number}/files")
        files = [RemoteFile(str(row["path"]), str(row["digest"]), int(row["size"])) for row in rows]
        return fetch_files(self.plane.transport, self.plane.build_path("/artifacts"), files, Path(out))

    def build_table_inputs(self, version: str | int, slot: str = "table") -> dict[str, dict[str, str]]:
        """The table of a version as inputs of a job: its file, or by the version all of its parts."""
        data = self.version(version)
        rows = list(self.plane.iterate(f"{self._path}/versions/{data['number']}/files", limit=2))
        return {slot: {"digest": str(rows[0]["digest"] if len(rows) == 1 else data["digest"])}}

    def upload(
        self, *paths: str | Path, note: str = "", delimiter: str = "", encoding: str = ""
    ) -> tuple[dict[str, Any], bool]:
        """Make a version of files; returns it, and whether it is new: equal bytes are the version that there is.

        One table (CSV, Parquet, JSON lines, Arrow) is read and checked; several Parquet files are the parts of one. A
        folder, several files or one of another kind are kept as they are, by their names below the folder.
        """
        files = list_upload_files([Path(path) for path in paths])
        kind = TABLE_TYPES.get(files[0][1].suffix.lower())
        if len(files) > 1 or kind is None:
            body = [{"path": name, "digest": self.plane.upload(file)} for name, file in files]
            answer = self._send_version({"files": body, "note": note})
        else:
            file = files[0][1]
            headers = {"Content-Type": kind, "Content-Length": str(file.stat().st_size)}
            query = {"note": note, **({"delimiter": delimiter, "encoding": encoding} if kind == "text/csv" else {})}
            answer = self._send_version(content=lambda: read_chunks(file), headers=headers, **query)
        if answer.status_code == 202:
            return self._await_version(JobHandle(self.plane, answer.json()))
        return answer.json(), answer.status_code == 201

    def _send_version(self, body: Any = None, **more: Any) -> Any:
        """Equal bytes are one version, however often they are sent."""
        path = self.plane.build_path(f"{self._path}/versions")
        return self.plane.transport.send("POST", path, body, is_repeatable=True, **more)

    def _await_version(self, job: JobHandle) -> tuple[dict[str, Any], bool]:
        """The version that a job reads; a job that finds what there is makes none."""
        job.wait(check=True)
        newest: dict[str, Any] = {}
        for row in self.versions():
            newest = newest or row
            if row["job"] == job.id:
                return row, True
        return newest, False


class ModelHandle:
    """A model by its name; nothing is asked of the plane before a method is called."""

    def __init__(self, plane: Plane, name: str) -> None:
        self.plane, self.name = plane, name

    @property
    def _path(self) -> str:
        return f"/models/{quote_part(self.name)}"

    def versions(self) -> Iterator[dict[str, Any]]:
        """Its versions, newest first: number, digest, aliases, task, target, metrics, run, job..."""
        return self.plane.iterate(f"{self._path}/versions")

    def version(self, version: str | int) -> dict[str, Any]:
        """One version with its variants, by its number or digest, or by an alias. Raises ClientError
        ``version_unknown``."""
        text = normalise_version(version)
        if not text.isdecimal() and len(text) != 64:
            return _get_version(self.plane, f"{self._path}/aliases", self.name, text, "deepseek models ls")
        return _get_version(self.plane, f"{self._path}/versions", self.name, text, "deepseek models ls")

    def download(self, version: str | int, out: str | Path, *, variant: str = "") -> list[Path]:
        """Download a variant into the folder `out`, which every command of the engine then takes as MODEL_DIR.

        `variant` names one of several; left out, the one that was trained. The rows that it was measured on come along
        where the plane has them. A version that MLflow's client made has files and no variants: all of them come.
        """
        data = self.version(version)
        require_unblocked(data)
        files = [RemoteFile(str(row["path"]), str(row["sha256"]), int(row["size"])) for row in data["files"]]
        if data["variants"]:
            files = self._list_variant_files(data, variant)
        elif variant or not files:
            raise self._build_variant_error(data, variant)
        return fetch_files(self.plane.transport, self.plane.build_path("/artifacts"), files, Path(out))

    def _list_variant_files(self, data: dict[str, Any], variant: str) -> list[RemoteFile]:
        chosen = next((row for row in data["variants"] if row["name"] == (variant or row["name"])), None)
        if chosen is None:
            raise self._build_variant_error(data, variant)
        files = [RemoteFile(str(chosen["file"]), str(chosen["digest"]), int(chosen["size"]))]
        rows = chosen["heldout"] or next((row["heldout"] for row in data["variants"] if row["heldout"]), "")
        if rows and self.plane.has_artifact(rows):
            files.append(RemoteFile(HELDOUT, str(rows)))
        # At the end: until it is there, nobody takes the folder for a model.
        return [*files, RemoteFile(MANIFEST, str(chosen["manifest"]))]

    def _build_variant_error(self, data: dict[str, Any], variant: str) -> ClientError:
        names = ", ".join(str(row["name"]) for row in data["variants"])
        return ClientError(
            "variant_unknown",
            f"{self.name} v{data['number']} has no variant {variant!r}."
            if variant
            else f"{self.name} v{data['number']} has no files on this plane.",
            field="--variant",
            value=variant or None,
            limit=names or "none",
            hint="Name one of these, or leave --variant out." if names else "Leave --variant out.",
        )


def require_unblocked(data: Mapping[str, Any]) -> None:
    """Raise ClientError ``version_blocked`` for a model version that must not be used."""
    if not data.get("block"):
        return
    raise ClientError(
        "version_blocked",
        f"{data['model']} v{data['number']} is blocked: {data['block']['reason']}",
        field="MODEL:VERSION",
        hint="Use another version; an approver can lift the block.",
    )


def _get_version(plane: Plane, path: str, name: str, version: str, listing: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = plane.get(f"{path}/{quote_part(version)}")
    except PlaneRefusal as refusal:
        if refusal.status != 404:
            raise
        reference = VersionReference(name, version)
        error = ClientError(
            "version_unknown",
            f"There is no {reference} in the project {plane.project}.",
            field="version",
            value=str(reference),
            limit="a version of this project",
            hint=f"{listing} {name} lists the versions; a token opens one project.",
        )
        raise error from None
    return row


def list_upload_files(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """(name in the version, file): a file by its name, those of a folder by their paths below it."""
    files: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise _build_file_error(path, f"There is no {path}.", "Check the path.")
        inside = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in inside:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            if name in files:
                raise _build_file_error(file, f"Two files would be called {name}.", "Rename one of them.")
            files[name] = file
    if not 1 <= len(files) <= MAX_FILES_PER_VERSION:
        raise ClientError(
            "bad_files",
            f"A version of {len(files)} files cannot be uploaded at once.",
            field="FILE",
            value=f"{len(files)} files",
            limit=f"1 to {MAX_FILES_PER_VERSION}",
            hint="Push more files with Git: docs/git.md.",
        )
    return list(files.items())


def read_chunks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


def _build_file_error(path: Path, message: str, hint: str) -> ClientError:
    return ClientError("bad_files", message, field="FILE", value=str(path), limit="a file or a folder", hint=hint)
