"""Wheels and source archives: what their names and their metadata say, and whether a wheel is what its RECORD lists.

Nothing is unpacked to a disk, and nothing is read beyond the bounds below, whatever the archive claims.
"""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from apps.core.errors import Invalid
from apps.site.mirror.names import normalize_name
from deepseek.messages import N_, Message

WHEEL, SDIST = "bdist_wheel", "sdist"
MAX_FILENAME = 255
MAX_METADATA_BYTES = 4 << 20
MAX_MEMBERS = 200_000
SMALL_BYTES = 64 << 20  # unpacked; below it no ratio is looked at
MAX_RATIO = 100  # bytes unpacked of one packed
MAX_EXPANDED_BYTES = 64 << 30
CHUNK = 1 << 20
SIGNATURES = ("RECORD", "RECORD.jws", "RECORD.p7s")  # which RECORD itself does not list
HASHES = ("sha256", "sha384", "sha512")


@dataclass(frozen=True, slots=True)
class Distribution:
    """What one file of a package says of itself."""

    filename: str
    filetype: str
    name: str  # normalised
    display_name: str
    version: Version
    tags: frozenset[Tag] = frozenset()  # of a wheel
    metadata: bytes = b""  # METADATA of a wheel, byte for byte
    summary: str = ""
    requires_python: str = ""
    requires_dist: tuple[str, ...] = ()
    requirements: tuple[Requirement, ...] = field(default=(), compare=False)


def read_distribution(path: Path, filename: str) -> Distribution:
    """Read a wheel or a source archive that lies at `path` and is called `filename`. Raises Invalid."""
    check_filename(filename)
    if filename.endswith(".whl"):
        return read_wheel(path, filename)
    if filename.endswith((".tar.gz", ".zip")):
        return read_sdist(path, filename)
    raise Invalid(
        "{filename} is neither a wheel nor a source archive.",
        filename=filename[:100],
        code="package_file_invalid",
        field="content",
        limit=".whl, .tar.gz",
        hint=N_("Build a wheel of it."),
    )


def check_filename(filename: str) -> None:
    """Refuse what is no plain name of a file."""
    if not filename.isascii() or not filename.isprintable() or "/" in filename or "\\" in filename or ".." in filename:
        raise Invalid(
            "The file name {filename!r} is not one of a package.",
            filename=filename[:100],
            code="package_file_invalid",
            field="content",
            limit=N_("ASCII, without / \\ and .."),
        )
    if len(filename) > MAX_FILENAME:
        raise Invalid(
            "The file name has {length} characters.",
            length=len(filename),
            code="package_file_invalid",
            field="content",
            limit=MAX_FILENAME,
        )


# -- wheels ---------------------------------------------------------------------------------------------------------
def read_wheel(path: Path, filename: str) -> Distribution:
    """A wheel whose every member was compared with its RECORD."""
    try:
        name, version, _build, tags = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion) as failure:
        raise build_file_error(filename, Message("{fault}", fault=str(failure))) from None
    with open_archive(path, filename) as archive:
        members = list_members(archive, path, filename)
        folder = find_dist_info(members, filename, str(name), str(version))
        metadata = read_member(archive, members, f"{folder}/METADATA", filename)
        check_record(archive, members, folder, filename)
    return build_distribution(filename, WHEEL, str(name), version, metadata, tags=tags)


@contextmanager
def open_archive(path: Path, filename: str) -> Iterator[zipfile.ZipFile]:
    """The zip; whatever is wrong with one, now or while it is read, is Invalid."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as failure:
        raise build_file_error(filename, Message("it cannot be unpacked ({fault})", fault=str(failure))) from None


def list_members(archive: zipfile.ZipFile, path: Path, filename: str) -> dict[str, zipfile.ZipInfo]:
    """Name -> entry of every file; Invalid for names that lead out, names that come twice, and bombs."""
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise build_bomb_error(filename, Message("{count} files", count=f"{len(entries):,}"), f"{MAX_MEMBERS:,}")
    expanded, packed = sum(entry.file_size for entry in entries), path.stat().st_size
    limit = min(max(SMALL_BYTES, MAX_RATIO * packed), MAX_EXPANDED_BYTES)
    if expanded > limit:
        raise build_bomb_error(filename, Message("{size} bytes", size=f"{expanded:,}"), f"{limit:,}")
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        check_member_name(entry.filename, filename)
        if entry.filename in members:
            raise build_file_error(filename, Message("{member} comes twice", member=entry.filename[:100]))
        members[entry.filename] = entry
    return members


def check_member_name(name: str, filename: str) -> None:
    if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts or "\0" in name:
        raise Invalid(
            "{filename} holds {member!r}, which leads out of the folder it is unpacked to.",
            filename=filename[:100],
            member=name[:100],
            code="unsafe_archive",
            field="content",
            hint=N_("Do not install it. Ask where it comes from."),
        )


def find_dist_info(members: dict[str, zipfile.ZipInfo], filename: str, name: str, version: str) -> str:
    folders = {member.split("/")[0] for member in members if member.split("/")[0].endswith(".dist-info")}
    if len(folders) != 1:
        raise build_file_error(filename, Message("it has {count} folders .dist-info, not one", count=len(folders)))
    return folders.pop()


def read_member(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, filename: str) -> bytes:
    entry = members.get(name)
    if entry is None:
        raise build_file_error(filename, Message("it has no {member}", member=name))
    if entry.file_size > MAX_METADATA_BYTES:
        raise build_bomb_error(
            filename,
            count_bytes(entry),
            f"{MAX_METADATA_BYTES:,}",
        )
    return archive.read(entry)


def check_record(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], folder: str, filename: str) -> None:
    """Compare every member with the digest in RECORD: none may be missing there, and none be other than it says."""
    listed = parse_record(read_record(archive, members, folder, filename), filename)
    unlisted = {f"{folder}/{name}" for name in SIGNATURES}
    for name, entry in members.items():
        if entry.is_dir() or name in unlisted:
            continue
        algorithm, _, digest = listed.get(name, "").partition("=")
        if algorithm not in HASHES:
            raise build_record_error(filename, name, Message("has no digest in RECORD"))
        with archive.open(entry) as member:
            content_hash = hashlib.new(algorithm)
            while chunk := member.read(CHUNK):
                content_hash.update(chunk)
        if base64.urlsafe_b64encode(content_hash.digest()).rstrip(b"=").decode() != digest.rstrip("="):
            raise build_record_error(filename, name, Message("is not what RECORD says"))


def read_record(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], folder: str, filename: str) -> bytes:
    entry = members.get(f"{folder}/RECORD")
    if entry is None:
        raise build_file_error(filename, Message("it has no {member}", member=f"{folder}/RECORD"))
    if entry.file_size > 16 * MAX_METADATA_BYTES:
        raise build_bomb_error(
            filename,
            count_bytes(entry),
            f"{16 * MAX_METADATA_BYTES:,}",
        )
    return archive.read(entry)


def parse_record(text: bytes, filename: str) -> dict[str, str]:
    try:
        rows = csv.reader(io.StringIO(text.decode(), newline=""))
        return {row[0]: row[1] for row in rows if len(row) >= 2}
    except (UnicodeDecodeError, csv.Error) as failure:
        raise build_file_error(filename, Message("its RECORD cannot be read ({fault})", fault=str(failure))) from None


# -- source archives ------------------------------------------------------------------------------------------------
def read_sdist(path: Path, filename: str) -> Distribution:
    """A source archive: PKG-INFO is read, the rest only counted."""
    try:
        name, version = parse_sdist_filename(filename)
    except (InvalidSdistFilename, InvalidVersion) as failure:
        raise build_file_error(filename, Message("{fault}", fault=str(failure))) from None
    if filename.endswith(".zip"):
        with open_archive(path, filename) as archive:
            members = list_members(archive, path, filename)
            place = next((member for member in sorted(members) if member.count("/") == 1 and is_pkg_info(member)), "")
            metadata = read_member(archive, members, place or "PKG-INFO", filename)
    else:
        metadata = read_tar_pkg_info(path, filename)
    return build_distribution(filename, SDIST, str(name), version, metadata)


def is_pkg_info(name: str) -> bool:
    return name.endswith("/PKG-INFO")


def read_tar_pkg_info(path: Path, filename: str) -> bytes:
    """PKG-INFO, while every member is looked at: links out, devices, `..` and bombs are refused."""
    limit = min(max(SMALL_BYTES, MAX_RATIO * path.stat().st_size), MAX_EXPANDED_BYTES)
    metadata: bytes | None = None
    expanded = count = 0
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                count, expanded = count + 1, expanded + member.size
                if count > MAX_MEMBERS or expanded > limit:
                    raise build_bomb_error(
                        filename,
                        Message("{size} bytes in {count} files", size=f"{expanded:,}", count=f"{count:,}"),
                        f"{limit:,}",
                    )
                check_member_name(member.name, filename)
                if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
                    raise build_device_error(filename, member.name)
                if member.issym() or member.islnk():
                    check_member_name(member.linkname, filename)
                if metadata is None and member.isfile() and member.name.count("/") == 1 and is_pkg_info(member.name):
                    source = archive.extractfile(member)
                    metadata = source.read(MAX_METADATA_BYTES) if source else None
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError) as failure:
        raise build_file_error(filename, Message("it cannot be unpacked ({fault})", fault=str(failure))) from None
    if metadata is None:
        raise build_file_error(filename, Message("it has no {member}", member="PKG-INFO"))
    return metadata


def build_device_error(filename: str, member: str) -> Invalid:
    return Invalid(
        "{filename} holds {member!r}, which is a device or a pipe.",
        filename=filename[:100],
        member=member[:100],
        code="unsafe_archive",
        field="content",
        hint=N_("Do not install it. Ask where it comes from."),
    )


# -- metadata -------------------------------------------------------------------------------------------------------
def build_distribution(
    filename: str, filetype: str, name: str, version: Version, text: bytes, *, tags: frozenset[Tag] = frozenset()
) -> Distribution:
    """Of a file name and its metadata, which have to agree. Raises Invalid."""
    try:
        raw: RawMetadata = parse_email(text)[0]
        own_name, own_version = raw.get("name", ""), Version(raw.get("version", ""))
        requirements = tuple(Requirement(each) for each in raw.get("requires_dist", []))
        SpecifierSet(raw.get("requires_python", ""))
    except (InvalidVersion, InvalidRequirement, InvalidSpecifier, UnicodeError) as failure:
        raise build_file_error(filename, Message("its metadata cannot be read ({fault})", fault=str(failure))) from None
    if normalize_name(own_name) != normalize_name(name) or own_version != version:
        raise build_file_error(
            filename, Message("its metadata is of {name} {version}", name=own_name, version=str(own_version))
        )
    return Distribution(
        filename=filename,
        filetype=filetype,
        name=normalize_name(name),
        display_name=own_name,
        version=version,
        tags=tags,
        metadata=text if filetype == WHEEL else b"",
        summary=" ".join(raw.get("summary", "").split())[:500],
        requires_python=raw.get("requires_python", "")[:200],
        requires_dist=tuple(str(each) for each in requirements),
        requirements=requirements,
    )


def count_bytes(entry: zipfile.ZipInfo) -> Message:
    return Message("{size} bytes of {member}", size=f"{entry.file_size:,}", member=entry.filename[-100:])


def build_file_error(filename: str, why: str) -> Invalid:
    return Invalid(
        "{filename} cannot be published: {why}.",
        filename=filename[:100],
        why=why,
        code="package_file_invalid",
        field="content",
        hint=N_("Build it again with current tools, or fetch it again."),
    )


def build_record_error(filename: str, member: str, why: str) -> Invalid:
    return Invalid(
        "{filename}: {member} {why}.",
        filename=filename[:100],
        member=member[:150],
        why=why,
        code="package_record_mismatch",
        field="content",
        hint=N_("The wheel was changed after it was built. Fetch it again."),
    )


def build_bomb_error(filename: str, size: str, limit: str) -> Invalid:
    return Invalid(
        "{filename} unpacks to {size}.",
        filename=filename[:100],
        size=size,
        code="archive_bomb",
        field="content",
        limit=limit,
        hint=N_("Do not unpack it. Ask where it comes from."),
    )
