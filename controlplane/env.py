"""Typed settings from the environment, read once. An invalid value stops the start with an error that names it.

docs/settings.md is made from these fields (`manage.py settings_table`), so the text beside a field is what an
operator reads.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from apps.core.actors import ProjectRole, SystemRole
from apps.core.encryption.key_ring import parse_keys
from controlplane.directory_env import CommaList, DirectoryEnv, split_at_commas
from controlplane.mail_server import parse_mail_url
from controlplane.secret_source import SecretFileSource
from deepseek.collect.hosts import parse_entry
from deepseek.partitions.cluster_address import is_address

BASE_DIR = Path(__file__).resolve().parent.parent
"""The repository, or the folder of packages that a wheel was installed into."""
IS_INSTALLED = not (BASE_DIR / "manage.py").is_file()
SHIPPED_DIR = BASE_DIR / "controlplane" if IS_INSTALLED else BASE_DIR
"""Where templates, static files and translations are: a wheel holds them inside its package (setup.py)."""

IMAGE_PREFIX = "oci:"
MIN_RETENTION_DAYS = 184  # six months have 181 to 184
SECRETS = {"encryption_keys"}  # whose value no message repeats
PortList = Annotated[list[Annotated[int, Field(ge=1, le=65_535)]], NoDecode]


class Env(DirectoryEnv):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, case_sensitive=False)

    plane_home: Path = Field(
        Path("var"),
        description="Folder of everything the plane keeps; relative to the repository, installed to where it starts.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port of the web process; taken: the next free one; 0: any.")
    bind: str = Field("127.0.0.1", description="Address that the web process listens on.")
    database_url: str = Field("", description="postgres://user:password@host:port/name; empty: SQLite in PLANE_HOME.")
    database_password: SecretStr = Field(
        SecretStr(""), description="Password of the database, where DATABASE_URL holds none."
    )
    database_pool_size: int = Field(16, ge=2, le=200, description="PostgreSQL connections per process, at most.")
    broker_url: str = Field("", description="redis://host:port/db; empty: a folder in PLANE_HOME.")
    broker_password: SecretStr = Field(SecretStr(""), description="Password of Redis, where BROKER_URL holds none.")
    artifact_url: str = Field("", description="s3://bucket/prefix, or file:///path; empty: a folder in PLANE_HOME.")
    artifact_s3_endpoint: str = Field(
        "", description="Address of the S3-compatible store; keys come from AWS_* variables."
    )
    secret_key: SecretStr = Field(SecretStr(""), description="Signs sessions; empty: made once, kept in PLANE_HOME.")
    secret_key_fallbacks: Annotated[list[SecretStr], NoDecode] = Field(
        [], description="Former values of SECRET_KEY, comma-separated: what they signed stays valid."
    )
    encryption_keys: Annotated[list[SecretStr], NoDecode] = Field(
        [],
        description="Keys that encrypt other keys, comma-separated, each ID:BASE64 of 32 bytes: the first encrypts, the"
        " others still decrypt. Empty: columns are encrypted under SECRET_KEY, the store is not.",
    )
    store_encryption: Literal["off", "aes-256-gcm", "sm4-gcm"] = Field(
        "off", description="Cipher of new objects in the artifact store; needs ENCRYPTION_KEYS."
    )
    column_cipher: Literal["aes-256-gcm", "sm4-gcm"] = Field(
        "aes-256-gcm", description="Cipher of the columns that hold secrets."
    )
    debug: bool = Field(False, description="Django's debug pages. Never where others can reach the plane.")
    behind_tls: bool = Field(
        False, description="A TLS proxy stands in front: secure cookies, HSTS, forwarded addresses."
    )
    proxy_addresses: CommaList = Field(
        ["127.0.0.1", "::1"], description="Addresses or networks of the TLS proxy, comma-separated."
    )
    hsts_subdomains: bool = Field(
        True, description="HSTS binds every host below this one's name too, and may be preloaded."
    )
    allowed_hosts: CommaList = Field(
        ["127.0.0.1", "localhost", "[::1]"], description="Host names that the plane answers to, comma-separated."
    )
    time_zone: str = Field("UTC", description="Zone in which times without a browser are shown.")
    log_file_bytes: int = Field(
        20_000_000, ge=10_000, description="A log file that `up` writes is put aside when it is larger."
    )
    log_files: int = Field(5, ge=1, le=100, description="Log files that are kept of each part, the newest included.")
    log_retention_days: int = Field(
        0,
        ge=0,
        le=3660,
        description="Log files of the last days are kept, however many: at least 184 days where a law asks for six"
        " months; less is refused. 0: LOG_FILES alone counts. Audit records are never removed.",
    )
    audit_sm3: bool = Field(
        False,
        description="Audit records are sealed by SM3 (GB/T 32905) in the place of SHA-256 from now on; those that are"
        " sealed stay as they are, and one chain may hold both (docs/audit.md).",
    )
    evidence_sm3: bool = Field(
        False,
        description="Evidence folders sign the SM3 digest (GB/T 32905) of each file beside its SHA-256, the exported"
        " audit trail included.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="How much the processes log.")
    node_name: str = Field("", max_length=120, description="Name of this node; empty: its host name.")
    node_queues: CommaList = Field(
        ["cpu", "gpu"], description="Queues that this node's worker serves; gpu is dropped where there is no GPU."
    )
    node_cpus: float | None = Field(None, gt=0, description="CPUs that jobs may use here; empty: what the machine has.")
    node_memory_bytes: int | None = Field(None, gt=0, description="Memory that jobs may use here, bytes; empty: 90 %.")
    node_address: str = Field(
        "",
        max_length=200,
        description="IPv4 address or name at which other nodes reach this one, for jobs over several nodes (UDP 29200"
        " to 30223); empty: the address from which it reaches the database.",
    )
    endpoint_address: str = Field(
        "127.0.0.1",
        max_length=200,
        pattern=r"^[0-9A-Za-z.:-]+$",
        description="Address that the servers of endpoints listen on at this node, and at which the plane and clients"
        " reach them. Beyond loopback they ask for a token.",
    )
    endpoint_certificate: str = Field(
        "",
        description="File of the certificate chain (PEM) by which the servers of endpoints at this node answer over"
        " TLS, for the name or address in ENDPOINT_ADDRESS; empty: without TLS.",
    )
    endpoint_certificate_key: str = Field(
        "", description="File of its key, without a password; empty: the key is in the file of the certificate."
    )
    endpoint_authorities: str = Field(
        "",
        description="File of the authorities (PEM) by which the web process checks the certificates of the servers of"
        " endpoints; empty: those of this machine.",
    )
    endpoint_ports: str = Field(
        "8600-8699",
        description="Ports of the servers of endpoints at this node, FIRST-LAST; empty: the node serves no models.",
    )
    gang_join_seconds: float = Field(
        60.0,
        ge=1,
        le=3600,
        description="A job over several nodes is queued again, without the nodes whose workers have not answered within"
        " so long.",
    )
    cluster_address: str = Field(
        "",
        description="Address of the scheduler of a Dask cluster, tls://HOST:PORT, whose workers share the partitions of"
        " jobs with `cluster` in their spec that this node runs; tcp:// on this host only. Empty: none.",
    )
    cluster_authorities: str = Field(
        "", description="File of the authorities (PEM) by which the certificate of that scheduler is checked."
    )
    cluster_certificate: str = Field("", description="File of the certificate (PEM) that jobs show to that scheduler.")
    cluster_certificate_key: str = Field(
        "",
        description="File of its key, without a password, that only this worker's user may read; empty: the key is in"
        " the file of the certificate.",
    )
    cluster_folder: str = Field(
        "",
        validate_default=True,
        description="Folder that this node and all workers of the cluster have under one path: scratch of the jobs on"
        " the cluster, which run as its owner where root runs this worker.",
    )
    hang_seconds: float = Field(
        1800.0,
        ge=0,
        le=7 * 86_400,
        description="An attempt over several nodes whose first node tells nothing for so long is ended and tried again;"
        " the stacks of its ranks go into the log. 0: never.",
    )
    scratch_wipe: Literal["remove", "overwrite"] = Field(
        "remove", description="overwrite: files of an ended job are overwritten by zeros before they are removed."
    )
    isolation: Literal["preferred", "required"] = Field(
        "preferred",
        description="A node that cannot give jobs a sandbox runs them without one and says so on its page, or takes"
        " none.",
    )
    engine_uid: int = Field(
        1_900_000_000,
        ge=0,
        le=2**32 - 2048,
        description="First of 1,024 user ids of jobs, one each, where the worker is root; 0: the worker's own.",
    )
    plane_url: str = Field(
        "", description="Address of the plane for jobs that call it; empty: the web process of this PLANE_HOME."
    )
    target_runtimes: str = Field(
        "",
        description="Folder of the wheels that code for another machine is packed with, such as `runtimes` of a site;"
        " empty: share/deepseek-offline/runtimes beside this Python.",
    )
    collect_hosts: CommaList = Field(
        [],
        description="Internal hosts that jobs may collect from, comma-separated: names, *.names, addresses or networks,"
        " each with a :port if need be; of web process and workers alike. Empty: collection is off.",
    )
    script_sandbox: Literal["required", "off"] = Field(
        "required", description="off: this worker runs scripts of users even where it cannot lock them in."
    )
    script_environments: CommaList = Field(
        [],
        description="Environments of this worker's node for scripts, comma-separated: NAME=/path/to/the/folder of a"
        " virtual environment, or NAME=oci:/path of an image (OCI layout, a folder or a tar file).",
    )
    script_image_limit_bytes: int = Field(
        50_000_000_000, ge=1_000_000, description="Largest image for scripts, as its layers unpack."
    )
    worker_threads: int = Field(16, ge=1, le=256, description="Jobs that a worker handles at once, at most.")
    lease_seconds: float = Field(
        30.0, ge=1, le=3600, description="A job whose worker is silent for so long is queued again."
    )
    retry_seconds: float = Field(
        5.0,
        ge=0,
        le=3600,
        description="Pause before a job's second attempt, within 20 %; each further one is five times longer. 0: none.",
    )
    retry_limit_seconds: float = Field(600.0, ge=0, le=86_400, description="Longest pause between two attempts.")
    stall_hours: float = Field(
        24.0,
        ge=0,
        le=8760,
        description="A job that a full disk, a missing folder or a store that is away keeps from running costs no"
        " attempt; it fails when that has lasted so long.",
    )
    disk_short_bytes: int = Field(
        512 * 2**20,
        ge=0,
        description="A disk of home, store or scratch is short when less than this and less than DISK_SHORT_PERCENT is"
        " free; a node with a short disk claims no jobs. 0: never.",
    )
    disk_short_percent: float = Field(5.0, ge=0, le=100, description="The other half of DISK_SHORT_BYTES. 0: never.")
    reserve_seconds: int = Field(
        900, ge=30, le=604_800, description="A first job that fits nowhere for so long gets a node kept free for it."
    )
    dispatch_seconds: float = Field(1.0, ge=0.05, le=60, description="Pause between two rounds of the dispatcher.")
    seal_seconds: float = Field(0.5, ge=0.05, le=5, description="Pause between two rounds of the audit sealer.")
    device_poll_seconds: int = Field(
        300, ge=1, le=86_400, description="Devices poll so often; each adds some jitter of its own."
    )
    device_deadline_hours: float = Field(
        24,
        ge=0.01,
        le=8760,
        description="A release that a device was given fails as `silent` after so long without a receipt of it.",
    )
    web_workers: int = Field(2, ge=1, le=64, description="Web processes.")
    web_threads: int = Field(64, ge=2, le=512, description="Threads of a web process.")
    request_seconds: float = Field(
        30.0,
        ge=1,
        le=110,
        description="Work in the database for one web request (PostgreSQL: one statement); what takes longer is 503.",
    )
    streams_per_worker: int = Field(24, ge=1, le=512, description="Open event streams of a web process, at most.")
    client_header_seconds: float = Field(
        20.0, ge=1, le=300, description="A client must send the headers of a request within so long."
    )
    client_stall_seconds: float = Field(
        20.0,
        ge=1,
        le=600,
        description="A client that sends a body, or reads an answer, more slowly than CLIENT_MIN_RATE for so long is"
        " cut off.",
    )
    client_min_rate: int = Field(
        1024, ge=1, le=10**7, description="Bytes per second that a client must send of a body, or read of an answer."
    )
    connections_per_address: int = Field(
        256,
        ge=8,
        le=4096,
        description="Connections that a web process holds from one address (IPv6: one /64 network), at most; a proxy of"
        " PROXY_ADDRESSES is not bound.",
    )
    body_limit_bytes: int = Field(
        1_048_576,
        ge=1024,
        description="Largest JSON or form body; of MLflow's runs/log-inputs 24 MiB.",
    )
    upload_limit_bytes: int = Field(100 * 10**9, ge=1, description="Largest single upload.")
    transfer_folder: Path | None = Field(
        None, description="Folder of bundles and their quarantine; empty: `transfer` in PLANE_HOME."
    )
    transfer_quarantine_days: int = Field(
        30, ge=1, le=3650, description="Days after which a received bundle that nobody touches is discarded."
    )
    malware_scan_command: str = Field(
        "",
        description="Command that scans received bundles; gets a folder as last argument, exits with 0 (clean) or 1.",
    )
    upload_scan_command: str = Field(
        "",
        description="Command that scans each upload: it gets the bytes on standard input, exits with 0 (clean) or 1. Of"
        " ClamAV: clamdscan --no-summary -",
    )
    malware_version_command: str = Field(
        "",
        description="Command that prints the scanner's version and the date of its signatures, which /readyz shows. Of"
        " ClamAV: clamdscan --version",
    )
    malware_scan: Literal["optional", "required"] = Field(
        "optional", description="`required`: a bundle or an upload that no scanner has looked at is refused."
    )
    malware_scan_seconds: float = Field(
        3600.0, ge=1, le=86_400, description="A scan that takes longer is no answer, and what it scans is refused."
    )
    project_quota_bytes: int = Field(
        -1,
        ge=-1,
        description="Bytes of artifacts that a project may hold by uploads and pushes; -1: half of the store's disk"
        " where the store is a folder, else 1 TB; 0: no limit.",
    )
    run_retention_days: int = Field(
        0, ge=0, le=36_500, description="purge_runs removes runs deleted for so many days; 0: none, unless it is told."
    )
    repositories_folder: Path | None = Field(
        None, description="Folder of the Git repositories, rebuilt when it is lost; empty: a folder in PLANE_HOME."
    )
    git_push_limit_bytes: int = Field(
        2 * 2**30, ge=2**20, description="Largest push by Git without what goes by LFS, as it arrives."
    )
    git_unpacked_limit_bytes: int = Field(
        2**30,
        ge=2**20,
        description="Largest push by Git without what goes by LFS, as its objects unpack: a few MB may hold gigabytes.",
    )
    git_children: int = Field(8, ge=1, le=256, description="Git processes that a web process has at once, at most.")
    git_seconds: int = Field(1800, ge=10, le=86_400, description="A Git process that takes longer is ended.")
    check_limit_bytes: int = Field(
        128 * 2**20,
        ge=0,
        le=2**30,
        description="Largest table that is checked while a push or a request waits, if its dataset expects something;"
        " 0: jobs alone check.",
    )
    metrics_allow: CommaList = Field(
        [],
        description="Addresses or networks that may read /metrics without a token, comma-separated; loopback: this host"
        " (every client, where a proxy on it hides who asks). Empty: nobody.",
    )
    index_allow: CommaList = Field(
        ["loopback"],
        description="Addresses or networks that may read packages (/simple/) and images (/v2/) without a token,"
        " comma-separated; loopback: this host (every client, where a proxy on it hides who asks). Empty: nobody.",
    )
    index_reserved: CommaList = Field(
        ["deepseek-offline"],
        description="Names of packages that the operator alone publishes, comma-separated, each may end with *.",
    )
    openlineage_namespace: str = Field(
        "deepseek-offline",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$",
        description="Namespace in OpenLineage events; that of a project is NAMESPACE/SLUG.",
    )
    openlineage_file: str = Field(
        "", description="File to which the dispatcher appends an OpenLineage event per begin and end of a job."
    )
    openlineage_file_bytes: int = Field(
        100_000_000, ge=100_000, description="OPENLINEAGE_FILE is put aside when it is larger; LOG_FILES are kept."
    )
    openlineage_http_url: str = Field(
        "", description="Address in the private network that the same events are posted to; the whole address."
    )
    openlineage_api_key: SecretStr = Field(
        SecretStr(""), description="Bearer token for OPENLINEAGE_HTTP_URL; better in a file: OPENLINEAGE_API_KEY_FILE."
    )
    notice_hosts: CommaList = Field(
        [],
        description="Hosts that webhooks may send to, comma-separated: names, *.names, addresses or networks, each with"
        " a :port if need be; of web process and dispatcher alike. Empty: webhooks are off.",
    )
    labelling_hosts: CommaList = Field(
        [],
        description="Hosts of Label Studio that projects may connect to, comma-separated: names, *.names, addresses or"
        " networks, each with a :port if need be; of web process and dispatcher alike. Empty: labelling is off.",
    )
    federation_servers: CommaList = Field(
        [],
        description="Servers of federated studies, and this site's own proxies to them, that jobs on this worker may"
        " connect to, comma-separated: names, *.names, addresses or networks, each with a :port if need be. Empty: this"
        " site takes part in no study.",
    )
    federation_ports: PortList = Field(
        [],
        description="Ports of this worker's machine on which servers of federated studies may listen, comma-separated."
        " Empty: it coordinates no study.",
    )
    mail_url: str = Field(
        "",
        description="SMTP server for notices: smtp://user@host:25, smtp+starttls://host:587 or smtps://host:465; needs"
        " PLANE_URL. Empty: no mail is sent.",
    )
    mail_password: SecretStr = Field(
        SecretStr(""), description="Password of the user of MAIL_URL; better in a file: MAIL_PASSWORD_FILE."
    )
    mail_from: str = Field(
        "plane@localhost",
        max_length=254,
        pattern=r"^[^@\s<>,;:\"]+@[^@\s<>,;:\"]+$",
        description="Sender of the mails.",
    )
    release_pkcs11_module: str = Field(
        "",
        description="Library of a token (PKCS #11), where the key that signs releases lies in one; it needs the package"
        " python-pkcs11.",
    )
    release_pkcs11_uri: str = Field(
        "",
        description="The first release key, in that token: pkcs11:token=NAME;object=NAME. Empty: a file in PLANE_HOME.",
    )
    release_pkcs11_pin: SecretStr = Field(
        SecretStr(""), description="PIN of the token; better in a file: RELEASE_PKCS11_PIN_FILE."
    )
    snapshot_destinations: CommaList = Field(
        [],
        description="Where snapshots of the plane go, comma-separated: NAME=file:///mnt/snapshots or"
        " NAME=s3://bucket/prefix; the first is the default. Empty: no snapshots.",
    )
    snapshot_s3_endpoint: str = Field(
        "", description="Address of the S3-compatible store of SNAPSHOT_DESTINATIONS; needs the extra s3."
    )
    snapshot_s3_access_key: str = Field("", description="Access key of that store; empty: the AWS_* variables.")
    snapshot_s3_secret_key: SecretStr = Field(
        SecretStr(""), description="Its secret key; better in a file: SNAPSHOT_S3_SECRET_KEY_FILE."
    )
    snapshot_keep: int = Field(
        8, ge=1, le=1000, description="Snapshots that each destination keeps; the last one that passed a drill stays."
    )
    snapshot_drill_folder: str = Field(
        "",
        description="Folder in which restore drills build their plane; it needs room for all artifacts. Empty: home.",
    )
    session_idle_minutes: int = Field(30, ge=1, le=1440, description="A session unused for so long is ended.")
    session_hours: int = Field(12, ge=1, le=168, description="A session is ended after so long, used or not.")
    security_labels: CommaList = Field(
        ["public", "internal", "confidential", "secret"],
        min_length=2,
        max_length=10,
        description="Names of the security labels from the lowest up, comma-separated. Everything begins with the"
        " first; never take one away that is in use.",
    )
    recertification_overdue: Literal["suspend", "keep"] = Field(
        "suspend",
        description="What becomes of grants that no reviewer has decided until the due date of a recertification:"
        " suspended until one does, or kept.",
    )
    emergency_hours: int = Field(
        8, ge=1, le=24, description="Emergency access lasts so long at most; whoever asks for it says how long."
    )
    lockout_failures: int = Field(
        5, ge=2, le=20, description="Wrong passwords before an account is locked at that address or device."
    )
    lockout_minutes: int = Field(30, ge=1, le=1440, description="How long it stays locked there.")
    password_min_length: int = Field(12, ge=8, le=128, description="Characters that a new password has at least.")
    password_min_length_administrators: int = Field(
        14, ge=8, le=128, description="Likewise of an administrator, where that is more."
    )
    password_classes: int = Field(
        4,
        ge=1,
        le=4,
        description="Kinds of characters in a new password, of upper case, lower case, digits, and others.",
    )
    password_history: int = Field(
        5, ge=0, le=24, description="Former passwords of a person that are not chosen again. 0: only the present one."
    )
    password_max_age_days: int = Field(
        90, ge=0, le=3650, description="An older password is replaced at the next log-in. 0: it is kept for ever."
    )
    inactive_days: int = Field(
        90,
        ge=0,
        le=3650,
        description="An account that nobody has used for so long is disabled; the last administrator of each kind"
        " stays. 0: never.",
    )
    admin_allow: CommaList = Field(
        [],
        description="Addresses or networks from which administrators may log in and work, comma-separated; loopback:"
        " this host (every client, where a proxy on it hides who asks). Empty: every one.",
    )
    second_factor_roles: CommaList = Field(
        ["system_admin", "security_admin", "auditor", "approver"],
        description="Roles that need a second factor, comma-separated: whoever has one and no factor sets it up at the"
        " log-in and can do nothing else. Empty: nobody must.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFileSource(settings_cls)

    @field_validator("endpoint_ports")
    @classmethod
    def validate_ports(cls, value: str) -> str:
        first, _, last = value.partition("-")
        is_range = first.isdigit() and last.isdigit() and 1024 <= int(first) <= int(last) <= 65535
        if value and not is_range:
            raise ValueError("must be FIRST-LAST, ports of 1024 to 65535, for instance 8600-8699")
        return value

    @field_validator("metrics_allow", "index_allow", "admin_allow")
    @classmethod
    def validate_readers(cls, value: list[str]) -> list[str]:
        for entry in value:
            try:
                _ = entry == "loopback" or ipaddress.ip_network(entry, strict=False)
            except ValueError as failure:
                raise ValueError(f"must be loopback, addresses or networks: {failure}") from None
        return value

    @field_validator("cluster_address")
    @classmethod
    def validate_cluster_address(cls, value: str) -> str:
        if value and not is_address(value):
            raise ValueError("must be tls://HOST:PORT, or tcp://127.0.0.1:PORT for a scheduler on this host")
        return value

    @field_validator("cluster_folder")
    @classmethod
    def validate_cluster_folder(cls, value: str, info: ValidationInfo) -> str:
        if value and not Path(value).is_absolute():
            raise ValueError("must be an absolute path, which the cluster's workers have too")
        if not value and info.data.get("cluster_address"):
            raise ValueError("must name a folder that the cluster's workers have too, where CLUSTER_ADDRESS is set")
        return value

    @field_validator("second_factor_roles")
    @classmethod
    def validate_roles(cls, value: list[str]) -> list[str]:
        roles = [role.value for kind in (SystemRole, ProjectRole) for role in kind]
        for entry in value:
            if entry not in roles:
                raise ValueError(f"{entry!r} is no role: name some of {', '.join(roles)}")
        return value

    @field_validator("second_factor_roles", mode="before")
    @classmethod
    def split_roles(cls, value: object) -> object:
        return cls.split_commas(value)

    @field_validator("metrics_allow", "index_allow", "index_reserved", "admin_allow", mode="before")
    @classmethod
    def split_readers(cls, value: object) -> object:
        return cls.split_commas(value)

    @field_validator("snapshot_destinations")
    @classmethod
    def validate_destinations(cls, value: list[str]) -> list[str]:
        for entry in value:
            name, _, url = entry.partition("=")
            if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,59}", name) or not re.match(r"file:///.|s3://[^/]", url):
                raise ValueError(f"{entry!r} is not written as NAME=file:///path or NAME=s3://bucket/prefix")
        names = [entry.partition("=")[0] for entry in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"{twice!r} is named twice")
        return value

    def list_snapshot_destinations(self) -> dict[str, str]:
        """Address of each destination, by its name."""
        pairs = (entry.partition("=") for entry in self.snapshot_destinations)
        return {name: url for name, _, url in pairs}

    @field_validator("script_environments")
    @classmethod
    def validate_environments(cls, value: list[str]) -> list[str]:
        for entry in value:
            name, _, folder = entry.partition("=")
            is_name = re.fullmatch(r"[A-Za-z0-9._-]{1,32}", name)
            if not is_name or not Path(folder.removeprefix(IMAGE_PREFIX)).is_absolute():
                raise ValueError(f"{entry!r} is not written as NAME=/path/to/the/folder or NAME=oci:/path")
        names = [entry.partition("=")[0] for entry in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"{twice!r} is named twice")
        return value

    def list_script_environments(self) -> dict[str, Path]:
        """Name -> interpreter of each virtual environment for scripts."""
        pairs = [entry.partition("=") for entry in self.script_environments]
        return {name: Path(place, "bin", "python") for name, _, place in pairs if not place.startswith(IMAGE_PREFIX)}

    def list_script_images(self) -> dict[str, Path]:
        """Name -> path of each image for scripts."""
        pairs = [entry.partition("=") for entry in self.script_environments]
        return {
            name: Path(place.removeprefix(IMAGE_PREFIX)) for name, _, place in pairs if place.startswith(IMAGE_PREFIX)
        }

    @field_validator("collect_hosts", "notice_hosts", "labelling_hosts", "federation_servers")
    @classmethod
    def validate_hosts(cls, value: list[str]) -> list[str]:
        for entry in value:
            parse_entry(entry)
        return value

    @field_validator(
        "allowed_hosts",
        "proxy_addresses",
        "node_queues",
        "secret_key_fallbacks",
        "encryption_keys",
        "collect_hosts",
        "notice_hosts",
        "labelling_hosts",
        "federation_servers",
        "federation_ports",
        "script_environments",
        "snapshot_destinations",
        "security_labels",
        mode="before",
    )
    @classmethod
    def split_commas(cls, value: object) -> object:
        return split_at_commas(value)

    @field_validator("security_labels")
    @classmethod
    def validate_labels(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value) or any(len(name) > 40 for name in value):
            raise ValueError("must be different names of at most 40 characters")
        return value

    @field_validator("proxy_addresses")
    @classmethod
    def validate_networks(cls, value: list[str]) -> list[str]:
        for entry in value:
            try:
                ipaddress.ip_network(entry)
            except ValueError as failure:
                raise ValueError(f"must be addresses or networks such as 10.1.0.0/24: {failure}") from None
        return value

    @field_validator("log_retention_days")
    @classmethod
    def validate_retention(cls, value: int) -> int:
        if 0 < value < MIN_RETENTION_DAYS:
            raise ValueError(f"must be 0 or at least {MIN_RETENTION_DAYS}: six months can have so many days")
        return value

    @field_validator("encryption_keys")
    @classmethod
    def validate_keys(cls, value: list[SecretStr]) -> list[SecretStr]:
        parse_keys([key.get_secret_value() for key in value])
        return value

    @field_validator("store_encryption")
    @classmethod
    def validate_store_encryption(cls, value: str, info: ValidationInfo) -> str:
        if value != "off" and not info.data.get("encryption_keys"):
            raise ValueError("needs ENCRYPTION_KEYS: a key of SECRET_KEY would lie on the same disk as the store")
        return value

    @field_validator("plane_url")
    @classmethod
    def validate_plane_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("must be http://host:port or https://host")
        return value

    @field_validator("mail_url")
    @classmethod
    def validate_mail(cls, value: str, info: ValidationInfo) -> str:
        parse_mail_url(value)
        if value and not info.data.get("plane_url"):
            raise ValueError("needs PLANE_URL, with which the links in mails begin")
        return value

    @field_validator("database_url")
    @classmethod
    def validate_database(cls, value: str) -> str:
        if value and not value.startswith(("postgres://", "postgresql://", "sqlite:///")):
            raise ValueError("must start with postgres://, postgresql:// or sqlite:///")
        return value

    @field_validator("openlineage_http_url")
    @classmethod
    def validate_listener(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username):
            raise ValueError("must be http://host:port/path or https://..., without a password in it")
        return value

    @field_validator("broker_url")
    @classmethod
    def validate_broker(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://, or be empty for the embedded broker")
        return value

    @field_validator("artifact_url")
    @classmethod
    def validate_store(cls, value: str) -> str:
        if value and not value.startswith(("s3://", "file:///")):
            raise ValueError("must start with s3:// or file:///")
        return value

    @property
    def home(self) -> Path:
        if self.plane_home.is_absolute():
            return self.plane_home
        return (Path.cwd() if IS_INSTALLED else BASE_DIR) / self.plane_home

    @property
    def database(self) -> str:
        """DATABASE_URL with DATABASE_PASSWORD in it."""
        return insert_password(self.database_url, self.database_password)

    @property
    def broker(self) -> str:
        """BROKER_URL with BROKER_PASSWORD in it."""
        return insert_password(self.broker_url, self.broker_password)

    @property
    def node(self) -> str:
        return self.node_name or socket.gethostname()


def insert_password(url: str, password: SecretStr) -> str:
    """The address with the password in it, unless it names no server or holds one already."""
    parts = urlsplit(url)
    if not parts.netloc or parts.password or not password.get_secret_value():
        return url
    user, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password.get_secret_value(), safe='')}@{place}").geturl()


@lru_cache(maxsize=1)
def load_env() -> Env:
    """The environment of this process; exits with status 2 and one line per wrong value."""
    try:
        return Env()
    except ValidationError as failure:
        for error in failure.errors():
            name = str(error["loc"][0]).upper() if error["loc"] else "environment"
            if name.lower() in SECRETS:
                sys.stderr.write(f"{name}: {error['msg']}. See docs/settings.md.\n")
                continue
            redacted = re.sub(
                r"//[^@/]*@", "//***@", str(os.environ.get(name, error.get("input")))
            )  # no password in a log
            sys.stderr.write(f"{name}={redacted!r}: {error['msg']}. See docs/settings.md.\n")
        raise SystemExit(2) from None
