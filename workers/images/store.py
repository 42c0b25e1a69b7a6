"""The images that this worker's environments name: read when it starts, each unpacked once, before its first job."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.core.errors import PlaneError
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from deepseek.messages import N_
from workers.images.layout import Image, build_image_error, open_layout, read_image
from workers.images.unpack import make_folder, unpack_layers

log = logging.getLogger(__name__)

LOCK_SECONDS = 0.2  # between two looks at a lock that another attempt holds
PART = ".part"


def get_images_root() -> Path:
    """Where the images are unpacked: not in an attempt's scratch, for they outlive it."""
    return Path(settings.PLANE_HOME) / "images" / settings.ENV.node


def load_images() -> dict[str, Image | PlaneError]:
    """Name -> image of each environment that is one, or why it cannot be used. Read once; a restart reads again."""
    return _load(tuple(sorted(settings.ENV.list_script_images().items())))


@cache
def _load(paths: tuple[tuple[str, Path], ...]) -> dict[str, Image | PlaneError]:
    images: dict[str, Image | PlaneError] = {}
    for name, path in paths:
        try:
            with open_layout(path) as layout:
                images[name] = read_image(layout)
        except PlaneError as error:
            log.warning("environment %s: %s", name, error)
            images[name] = error
        except Exception as failure:  # whatever it is: one image does not keep the worker from all other jobs
            log.exception("environment %s", name)
            images[name] = build_image_error(path, N_("it cannot be understood"), detail=type(failure).__name__)
    return images


def describe_environments(*, why_no_images: str = "") -> list[dict[str, str]]:
    """The environments of this node, for its page: name, kind, and digest or the reason why it cannot be used.

    `why_no_images`: what keeps this node from running any image; empty: nothing does.
    """
    rows = [{"name": name, "kind": "venv"} for name in settings.ENV.list_script_environments()]
    for name, image in load_images().items():
        row = {"name": name, "kind": "image"}
        if isinstance(image, Image):
            row |= {"digest": image.digest} | ({"reason": why_no_images} if why_no_images else {})
        else:
            row["reason"] = str(image)
        rows.append(row)
    return sorted(rows, key=lambda row: row["name"])


def remove_unused_images() -> None:
    """Remove what no environment names any more, and what a worker that was killed had half unpacked.

    Nothing while another worker of the node unpacks; and where an image cannot be read, which may be for a moment,
    only what is half unpacked: any folder may be that image's.
    """
    root, images = get_images_root(), load_images().values()
    if not root.is_dir():
        return
    used = {image.folder_name for image in images if isinstance(image, Image)}
    with (root / "lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        are_known = all(isinstance(image, Image) for image in images)
        for folder in root.iterdir():
            if folder.is_dir() and folder.name not in used and (are_known or folder.name.endswith(PART)):
                log.info("image %s: removed, no environment names it", folder.name)
                shutil.rmtree(folder, ignore_errors=True)


# -- of a job -------------------------------------------------------------------------------------------------------
def get_environment_name(job: Job) -> str:
    """The environment that the job's spec names; empty: that of the node, or a kind without any."""
    kind = KINDS.get(job.kind)
    return str(json.loads(job.spec).get("environment", "")) if kind is not None and kind.user_code else ""


def find_image(job: Job) -> Image | None:
    """The image that the job runs in; None: in none. Raises PlaneError for one that cannot be used here."""
    image = load_images().get(get_environment_name(job))
    if isinstance(image, PlaneError):
        raise image
    return image


def get_root(image: Image) -> Path:
    """The folder that is the root of whoever runs in the image."""
    return get_images_root() / image.folder_name


def prepare_image(job: Job, check: Callable[[], None], tell: Callable[[str], None]) -> None:
    """Unpack the image of the job unless that has been done. `check` is called meanwhile and may raise.

    Raises PlaneError for an image that cannot be used, is damaged or has changed since this worker started.
    """
    image = find_image(job)
    if image is None or get_root(image).is_dir():
        return
    get_images_root().mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock_images(check):
        if not get_root(image).is_dir():
            began = time.monotonic()
            unpack_image(image, check)
            tell(f"The image {image.digest[:19]} was unpacked within {time.monotonic() - began:.0f} s.")


def unpack_image(image: Image, check: Callable[[], None]) -> None:
    """Unpack into a folder of another name, which gets its own when all is there. The lock must be held."""
    root = get_root(image)
    part = root.with_name(root.name + PART)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    part.chmod(0o755)
    try:
        with open_layout(image.path) as layout:
            if read_image(layout).digest != image.digest:
                raise PlaneError(
                    "The image {path} has changed since the worker started.",
                    path=str(image.path),
                    code="image_changed",
                    field="/spec/environment",
                    limit=image.digest,
                    hint=N_("Restart the worker of the node; it runs the new image then."),
                )
            unpack_layers(image, layout, part, limit=settings.ENV.script_image_limit_bytes, check=check)
        add_hosts_file(part)
        os.sync()  # a machine that stops now must not leave a whole folder of empty files
        part.rename(root)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def add_hosts_file(root: Path) -> None:
    """An empty /etc/hosts where the image has none, over which that of the node is mounted: it knows localhost."""
    folder, file = root / "etc", root / "etc/hosts"
    if not os.path.lexists(folder):
        make_folder(str(folder))
    if not folder.is_symlink() and folder.is_dir() and not os.path.lexists(file):
        file.touch()
        file.chmod(0o644)


@contextmanager
def lock_images(check: Callable[[], None]) -> Iterator[None]:
    """One image at a time, whichever attempt or process wants it."""
    with (get_images_root() / "lock").open("wb") as file:
        while True:
            check()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(LOCK_SECONDS)
        yield


def describe_image(job: Job) -> dict[str, Any]:
    """Name and digest of the image that the job runs in, for its provenance; empty where there is none."""
    image = load_images().get(get_environment_name(job))
    return {"image": {"name": get_environment_name(job), "digest": image.digest}} if isinstance(image, Image) else {}
