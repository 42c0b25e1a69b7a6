"""Validate the `.lfsconfig` of a push: git-lfs obeys a checked-out one, so it must not redirect uploads."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from apps.core.errors import Invalid
from apps.data.repositories import git
from apps.data.repositories.trees import QuarantinedObjects
from deepseek.messages import N_, Message

NAME = ".lfsconfig"
ADDRESSES = ("url", "pushurl", "lfsurl", "lfspushurl")  # keys of lfs and remote that name where objects go
REDIRECTING = (
    "url",
    "include",
    "includeif",
    "http",
    "https",
    "core",
    "credential",
    "ssh",
)  # sections, whatever the key
AGENTS = ("lfs.customtransfer.", "lfs.extension.")
MAX_CONFIGS = 100  # different ones in one push


def check_lfs_config(objects: QuarantinedObjects, new: str, old: str, lfs_address: str) -> None:
    """Raise Invalid where the tip of a push, or a commit that it brings, has an .lfsconfig that moves uploads.

    `lfs_address`: of this repository's own LFS server, as the client reached it; that one may be named.
    """
    blobs = objects.find_blobs(new, old, NAME)
    if len(blobs) > MAX_CONFIGS:
        raise Invalid(
            "The commits of the push have {count} different {name}.",
            count=len(blobs),
            name=NAME,
            code="bad_lfsconfig",
            field=NAME,
            limit=MAX_CONFIGS,
            hint=N_("Push them in several parts."),
        )
    for sha in sorted(blobs):
        for key, value in read_config(objects, sha):
            if is_redirecting(key, value, lfs_address):
                raise Invalid(
                    "{name} sets {key} to {found}: LFS uploads of whoever clones this could go elsewhere.",
                    name=NAME,
                    key=key,
                    found=value[:200],
                    code="lfs_redirected",
                    field=key[:200],
                    limit=lfs_address,
                    hint=Message(
                        "Take it out of every commit (git config -f {name} --unset {key}; git commit --amend), "
                        "and push again; an address for yourself alone belongs in .git/config.",
                        name=NAME,
                        key=key[:200],
                    ),
                )


def read_config(objects: QuarantinedObjects, sha: str) -> Iterator[tuple[str, str]]:
    """(key, value) of each line, as Git reads them, which git-lfs asks."""
    try:
        output = objects.run("config", "--blob", sha, "--no-includes", "--null", "--list")
    except git.GitFailed:
        raise Invalid(
            "{name} cannot be read as a configuration of Git.",
            name=NAME,
            code="bad_lfsconfig",
            field=NAME,
            hint=Message("git config -f {name} --list names the line.", name=NAME),
        ) from None
    for entry in output.decode(errors="replace").split("\0"):
        if entry:
            key, _, value = entry.partition("\n")
            yield key, value


def is_redirecting(key: str, value: str, lfs_address: str) -> bool:
    """Whether a line can make git-lfs send objects, or a password, anywhere but to `lfs_address`."""
    section, _, rest = key.partition(".")
    name = rest.rpartition(".")[2].lower()
    if section.lower() in REDIRECTING or key.lower().startswith(AGENTS) or name.endswith("transferagent"):
        return True
    return name in ADDRESSES and not is_same_address(value, lfs_address)


def is_same_address(value: str, lfs_address: str) -> bool:
    """Whether both lead to the same LFS server; https in place of http does."""
    try:
        address, own = urlsplit(value.strip()), urlsplit(lfs_address)
    except ValueError:
        return False
    schemes = {own.scheme, "https"}
    return address.scheme in schemes and (address.netloc, address.path.rstrip("/"), address.query) == (
        own.netloc,
        own.path,
        "",
    )
