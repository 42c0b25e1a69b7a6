"""A folder of wheels into the index: everything is checked before anything is stored, and all of it comes or nothing.

1. every wheel is in SHA256SUMS and has that digest; 2. each is what its RECORD lists; 3. no name looks like another;
4. what each needs is in the folder or in the index, for the named Pythons and platforms.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from django.db import transaction
from django.utils import timezone
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError, StorageFull
from apps.platform.artifacts.services import adopt_for_plane, store_for_plane
from apps.platform.artifacts.store import StoredBytes
from apps.platform.artifacts.stores import get_store_space
from apps.platform.audit.services import record
from apps.site.mirror.distributions import WHEEL, Distribution, read_distribution
from apps.site.mirror.environments import TargetEnvironment
from apps.site.mirror.models import Package, PackageFile
from apps.site.mirror.services.index_rows import (
    add_file,
    check_name,
    find_published,
    lock_index,
    mark_changed,
    refresh_package,
)
from apps.site.mirror.services.uploads import iter_file
from apps.site.mirror.wheels import Wheel
from deepseek.messages import N_, Message

SUMS = "SHA256SUMS"
SUM_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
MAX_FILES = 20_000
MAX_ERRORS = 50  # of a folder, in one answer


@dataclass(frozen=True, slots=True)
class FolderFile:
    path: Path
    digest: str
    distribution: Distribution

    @property
    def wheel(self) -> Wheel:
        return as_wheel(self.distribution)


@dataclass(slots=True)
class ImportReport:
    """What an import took, or of a dry run would take."""

    added: list[FolderFile] = field(default_factory=list)
    present: list[str] = field(default_factory=list)  # file names that the index had, with these bytes
    ignored: list[str] = field(default_factory=list)  # files of the folder that are no wheels

    @property
    def bytes(self) -> int:
        return sum(file.path.stat().st_size for file in self.added)


@dataclass(slots=True)
class FaultList:
    """Everything that is wrong with a folder, said at once."""

    faults: list[PlaneError] = field(default_factory=list)

    @contextmanager
    def collect(self) -> Iterator[None]:
        try:
            yield
        except StorageFull:
            raise
        except PlaneError as fault:
            self.faults.append(fault)

    def raise_if_any(self) -> None:
        if not self.faults:
            return
        errors = [entry for fault in self.faults for entry in fault.errors][:MAX_ERRORS]
        first = self.faults[0]
        raise Invalid(
            first.message, code=first.code, field=first.field, limit=first.limit, hint=first.hint, errors=errors
        )


def import_folder(
    *,
    actor: Actor,
    folder: Path,
    environments: Sequence[TargetEnvironment],
    accepted: Collection[str] = (),
    dry_run: bool = False,
) -> ImportReport:
    """Publish every wheel of the folder for the plane, or none. `accepted`: names that may look like others.

    Raises Invalid, whose `errors` lists everything that is wrong, and StorageFull.
    """
    policy.require(actor, "package.import")
    faults = FaultList()
    report, files = read_folder(folder, faults)
    faults.raise_if_any()
    check_index(files, report, accepted, faults)
    faults.raise_if_any()
    check_resolution(files, environments, faults)
    faults.raise_if_any()
    check_room(report.bytes)
    if not dry_run and report.added:
        take_files(actor, report, accepted)
    return report


# -- the folder -----------------------------------------------------------------------------------------------------
def read_folder(folder: Path, faults: FaultList) -> tuple[ImportReport, list[FolderFile]]:
    """Every wheel of the folder, or of its folder `wheels`, with its digest. Raises Invalid."""
    folder = find_wheel_folder(folder)
    sums = read_sums(folder)
    report, files = ImportReport(), []
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if len(paths) > MAX_FILES:
        raise build_folder_error(folder, Message("it has {count} files", count=len(paths)), limit=MAX_FILES)
    for path in paths:
        if path.suffix != ".whl":
            report.ignored += [path.name] if path.name != SUMS else []
            continue
        with faults.collect():
            files.append(read_file(path, sums.get(path.name, "")))
    for name in sorted(sums):
        if name.endswith(".whl") and not (folder / name).is_file():
            faults.faults.append(build_folder_error(folder, Message("{name} is missing", name=name)))
    if not files and not faults.faults:
        raise build_folder_error(folder, Message("there is no wheel in it"))
    return report, files


def find_wheel_folder(folder: Path) -> Path:
    """The folder itself, or `wheels` in the folder that `make site` makes."""
    if not folder.is_dir():
        raise build_folder_error(folder, Message("it is no folder"))
    wheels_folder = folder / "wheels"
    return wheels_folder if wheels_folder.is_dir() and not any(folder.glob("*.whl")) else folder


def read_sums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256, as sha256sum writes them. Raises Invalid."""
    path = folder / SUMS
    if not path.is_file():
        raise build_folder_error(
            folder,
            Message("it has no {name}", name=SUMS),
            hint=N_("Where the folder was filled: sha256sum *.whl > SHA256SUMS"),
        )
    sums: dict[str, str] = {}
    for line in path.read_text(errors="replace").splitlines():
        match = SUM_LINE.fullmatch(line)
        if match is None:
            raise build_folder_error(folder, Message("{name} has a line {line!r}", name=SUMS, line=line[:80]))
        sums[match[2]] = match[1].lower()
    return sums


def read_file(path: Path, expected: str) -> FolderFile:
    if not expected:
        raise Invalid(
            "{name} does not stand in {sums}.",
            name=path.name,
            sums=SUMS,
            code="digest_missing",
            field=path.name,
            hint=N_("Leave it out, or list its digest where it was fetched."),
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        raise Invalid(
            "{name} has another digest than {sums} says.",
            name=path.name,
            sums=SUMS,
            code="digest_mismatch",
            field=path.name,
            limit=expected,
            hint=N_("It was changed or cut off on its way. Copy it again."),
        )
    return FolderFile(path, digest, read_distribution(path, path.name))


def build_folder_error(folder: Path, why: Message, *, limit: object = None, hint: str | None = None) -> Invalid:
    return Invalid(
        "{folder} cannot be imported: {why}.",
        folder=str(folder),
        why=why,
        code="package_folder_invalid",
        field="folder",
        limit=limit,
        hint=hint,
    )


# -- against the index ----------------------------------------------------------------------------------------------
def check_index(
    files: Sequence[FolderFile], report: ImportReport, accepted: Collection[str], faults: FaultList
) -> None:
    """Sort the files into new ones and present ones; names and existing files are checked."""
    names = {file.distribution.name for file in files}
    for name in sorted(names):
        with faults.collect():
            check_name(name, None, accepted=accepted, siblings=names)
    for file in files:
        with faults.collect():
            if find_published(file.path.name, file.digest):
                report.present.append(file.path.name)
            else:
                report.added.append(file)


def check_resolution(files: Sequence[FolderFile], environments: Sequence[TargetEnvironment], faults: FaultList) -> None:
    """Every wheel fits an environment, and what it needs there is in the folder or in the index."""
    from apps.site.mirror.resolution import find_missing  # the web process resolves nothing, and needs no resolver

    find_wheels = build_finder([file.wheel for file in files])
    for file in files:
        if not any(environment.accepts_tags(file.wheel.tags) for environment in environments):
            faults.faults.append(
                Invalid(
                    "{name} fits none of the environments.",
                    name=file.path.name,
                    code="package_environment",
                    field=file.path.name,
                    limit="; ".join(environment.label for environment in environments),
                    hint=N_("Name its Python and platform: --python 3.12 --platform manylinux_2_36_aarch64"),
                )
            )
    for environment in environments:
        usable = [
            file.wheel
            for file in files
            if environment.accepts_tags(file.wheel.tags) and environment.accepts_python(file.wheel.requires_python)
        ]
        for fault in find_missing(usable, environment, find_wheels):
            faults.faults.append(
                Invalid(
                    "A package could not be installed: {fault}.",
                    fault=fault,
                    code="package_dependency_missing",
                    field="folder",
                    hint=N_("Add the wheels that are missing to the folder; of a yanked version take another."),
                )
            )


def build_finder(wheels: Sequence[Wheel]) -> Callable[[str], Sequence[Wheel]]:
    """Wheels by name: those of the folder first, then those of the index, read once per name."""
    by_name: dict[str, list[Wheel]] = {}
    for wheel in wheels:
        by_name.setdefault(wheel.name, []).append(wheel)
    complete: set[str] = set()

    def find(name: str) -> Sequence[Wheel]:
        if name not in complete:
            complete.add(name)
            by_name.setdefault(name, []).extend(list_index_wheels(name))
        return by_name[name]

    return find


def list_index_wheels(name: str) -> list[Wheel]:
    rows = PackageFile.objects.filter(version__package__name=name, filetype=WHEEL).select_related("version")
    return [
        Wheel(
            name,
            Version(row.version.version),
            parse_wheel_filename(row.filename)[3],
            row.requires_python,
            tuple(Requirement(text) for text in row.requires_dist),
            is_yanked=row.version.yanked_at is not None,
        )
        for row in rows
    ]


def as_wheel(distribution: Distribution) -> Wheel:
    return Wheel(
        distribution.name,
        distribution.version,
        distribution.tags,
        distribution.requires_python,
        distribution.requirements,
    )


# -- taking it ------------------------------------------------------------------------------------------------------
def check_room(size: int) -> None:
    """Refuse before the first byte what the disk of the store cannot hold."""
    space = get_store_space()
    free = space[0] - space[1] if space else size
    if size > free:
        raise StorageFull(
            "The folder has {size} bytes, the disk of the store {free} free.",
            size=size,
            free=free,
            field="folder",
            limit=free,
            hint=N_("Free space there, or collect garbage; nothing was imported."),
        )


def take_files(actor: Actor, report: ImportReport, accepted: Collection[str]) -> None:
    """Store the bytes, then make all rows in one transaction; bytes without a row go as garbage."""
    stored: list[tuple[FolderFile, StoredBytes, StoredBytes]] = []
    for file in report.added:
        body = store_for_plane(
            actor=actor,
            stream=iter_file(file.path),
            expected_digest=file.digest,
            expected_size=file.path.stat().st_size,
        )
        stored.append((file, body, store_for_plane(actor=actor, stream=[file.distribution.metadata])))
    with transaction.atomic():
        index, now = lock_index(), timezone.now()
        names = {file.distribution.name for file in report.added}
        for name in names:
            check_name(name, None, accepted=accepted, siblings=names)
        packages: dict[int, Package] = {}
        for file, body, metadata in stored:
            if find_published(file.path.name, file.digest):
                continue
            row = add_file(
                actor,
                file.distribution,
                None,
                adopt_for_plane(actor=actor, stored=body),
                adopt_for_plane(actor=actor, stored=metadata),
                now,
            )
            package = row.version.package
            packages[package.pk] = package
            record(
                actor=actor,
                action="package.import",
                obj=package,
                after={"file": row.filename, "version": row.version.version, "size": body.size},
                digests={"artifact": body.digest},
            )
        for package in packages.values():
            refresh_package(package)
        mark_changed(index, list(packages.values()), now)
