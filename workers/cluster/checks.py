"""The plane's way to a Dask cluster of its operator is encrypted, and complete."""

from __future__ import annotations

import os
import ssl
import stat
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from deepseek.partitions.cluster_address import is_encrypted, is_on_this_host


@register(Tags.security)
def check_cluster(**kwargs: Any) -> list[CheckMessage]:
    """workers.E001 without TLS beyond this host, E002 with a file that is missing or cannot be used, E003 with a key
    that others can read, E004 without a folder that can be written to, E005 without the package, E006 with a folder of
    root, as whom its jobs would run."""
    env = settings.ENV
    if not env.cluster_address:
        return []
    errors: list[CheckMessage] = []
    if is_encrypted(env.cluster_address):
        errors += check_certificates()
    elif not is_on_this_host(env.cluster_address):
        errors.append(
            Error(
                f"CLUSTER_ADDRESS={env.cluster_address} would be reached without TLS: whoever reaches a scheduler can"
                " run code on its workers. Limit: tls:// beyond this host.",
                hint="Start scheduler and workers with certificates, and write tls://HOST:PORT.",
                id="workers.E001",
            )
        )
    folder = Path(env.cluster_folder)
    # os.path.isdir: Path.is_dir raises where the mount is stale.
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        errors.append(
            Error(
                f"CLUSTER_FOLDER={folder} is no folder that this user can write to.",
                hint="Mount the folder that the cluster's workers have under this path, owned by their user.",
                id="workers.E004",
            )
        )
    elif os.geteuid() == 0 and env.engine_uid and folder.stat().st_uid == 0:
        errors.append(
            Error(
                f"CLUSTER_FOLDER={folder} belongs to root: jobs on the cluster run as its owner.",
                hint=f"Run chown -R USER {folder}, with the user that runs the cluster's workers.",
                id="workers.E006",
            )
        )
    if find_spec("distributed") is None:
        errors.append(
            Error(
                "CLUSTER_ADDRESS needs the package distributed.",
                hint="Install the extra scale: pip install 'deepseek-offline[scale]'.",
                id="workers.E005",
            )
        )
    return errors


def check_certificates() -> list[CheckMessage]:
    """What is wrong with the files of this side's certificate."""
    env = settings.ENV
    key = env.cluster_certificate_key or env.cluster_certificate
    files = {
        "CLUSTER_AUTHORITIES": env.cluster_authorities,
        "CLUSTER_CERTIFICATE": env.cluster_certificate,
        "CLUSTER_CERTIFICATE_KEY": key,
    }
    missing: list[CheckMessage] = [
        Error(
            f"{name}={path} is no file, and CLUSTER_ADDRESS={env.cluster_address} needs one.",
            hint="Name a file (PEM) that this worker's user can read.",
            id="workers.E002",
        )
        for name, path in files.items()
        if not path or not Path(path).is_file()
    ]
    if missing:
        return missing
    errors: list[CheckMessage] = []
    mode = stat.S_IMODE(Path(key).stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        errors.append(
            Error(
                f"CLUSTER_CERTIFICATE_KEY={key} has mode {mode:04o}: others can read the key. Limit: 0600.",
                hint=f"Run chmod 600 {key}, as the user of the worker.",
                id="workers.E003",
            )
        )
    try:
        context = ssl.create_default_context(cafile=env.cluster_authorities)
        context.load_cert_chain(env.cluster_certificate, key, password=lambda: "")
    except (OSError, ValueError) as failure:  # SSLError is an OSError
        errors.append(
            Error(
                f"CLUSTER_AUTHORITIES={env.cluster_authorities}, CLUSTER_CERTIFICATE={env.cluster_certificate} and"
                f" CLUSTER_CERTIFICATE_KEY={key} cannot be used: {failure}.",
                hint="Name PEM files of one authority, and a certificate with its own key, which has no password.",
                id="workers.E002",
            )
        )
    return errors
