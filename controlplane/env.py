"""The environment, read once and typed. A wrong value stops the start and names itself.

docs/settings.md is made from these fields (`manage.py settings_table`), so the text beside a field is what an
operator reads.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

BASE_DIR = Path(__file__).resolve().parent.parent

CommaList = Annotated[list[str], NoDecode]


class Env(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, case_sensitive=False)

    plane_home: Path = Field(
        Path("var"), description="Folder of everything the plane keeps; relative to the repository."
    )
    port: int = Field(8000, ge=0, le=65535, description="Port of the web process; taken: the next free one; 0: any.")
    bind: str = Field("127.0.0.1", description="Address that the web process listens on.")
    database_url: str = Field("", description="postgres://user:password@host:port/name; empty: SQLite in PLANE_HOME.")
    database_pool_size: int = Field(16, ge=2, le=200, description="PostgreSQL connections per process, at most.")
    broker_url: str = Field("", description="redis://host:port/db; empty: a folder in PLANE_HOME.")
    artifact_url: str = Field("", description="s3://bucket/prefix, or file:///path; empty: a folder in PLANE_HOME.")
    artifact_s3_endpoint: str = Field(
        "", description="Address of the S3-compatible store; keys come from AWS_* variables."
    )
    secret_key: SecretStr = Field(SecretStr(""), description="Signs sessions; empty: made once, kept in PLANE_HOME.")
    debug: bool = Field(False, description="Django's debug pages. Never where others can reach the plane.")
    behind_tls: bool = Field(
        False, description="A TLS proxy stands in front: secure cookies, HSTS, forwarded addresses."
    )
    allowed_hosts: CommaList = Field(
        ["127.0.0.1", "localhost", "[::1]"], description="Host names that the plane answers to, comma-separated."
    )
    time_zone: str = Field("UTC", description="Zone in which times without a browser are shown.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="How much the processes log.")
    node_name: str = Field("", max_length=120, description="Name of this node; empty: its host name.")
    node_queues: CommaList = Field(
        ["cpu", "gpu"], description="Queues that this node's worker serves; gpu is dropped where there is no GPU."
    )
    node_cpus: float | None = Field(None, gt=0, description="CPUs that jobs may use here; empty: what the machine has.")
    node_memory_bytes: int | None = Field(None, gt=0, description="Memory that jobs may use here, bytes; empty: 90 %.")
    worker_threads: int = Field(16, ge=1, le=256, description="Jobs that a worker handles at once, at most.")
    lease_seconds: float = Field(
        30.0, ge=1, le=3600, description="A job whose worker is silent for so long is queued again."
    )
    dispatch_seconds: float = Field(1.0, ge=0.05, le=60, description="Pause between two rounds of the dispatcher.")
    seal_seconds: float = Field(0.5, ge=0.05, le=5, description="Pause between two rounds of the audit sealer.")
    web_workers: int = Field(2, ge=1, le=64, description="Web processes.")
    web_threads: int = Field(64, ge=2, le=512, description="Threads of a web process.")
    streams_per_worker: int = Field(24, ge=1, le=512, description="Open event streams of a web process, at most.")
    body_limit_bytes: int = Field(1_048_576, ge=1024, description="Largest JSON or form body.")
    upload_limit_bytes: int = Field(100 * 10**9, ge=1, description="Largest single upload.")
    session_idle_minutes: int = Field(30, ge=1, le=1440, description="A session unused for so long is ended.")
    session_hours: int = Field(12, ge=1, le=168, description="A session is ended after so long, used or not.")
    lockout_failures: int = Field(5, ge=2, le=20, description="Wrong passwords before an account name is locked.")
    lockout_minutes: int = Field(30, ge=1, le=1440, description="How long a locked account name stays locked.")

    @field_validator("allowed_hosts", "node_queues", mode="before")
    @classmethod
    def split_commas(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def known_database(cls, value: str) -> str:
        if value and not value.startswith(("postgres://", "postgresql://", "sqlite:///")):
            raise ValueError("must start with postgres://, postgresql:// or sqlite:///")
        return value

    @field_validator("broker_url")
    @classmethod
    def known_broker(cls, value: str) -> str:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://, or be empty for the embedded broker")
        return value

    @field_validator("artifact_url")
    @classmethod
    def known_store(cls, value: str) -> str:
        if value and not value.startswith(("s3://", "file:///")):
            raise ValueError("must start with s3:// or file:///")
        return value

    @property
    def home(self) -> Path:
        return self.plane_home if self.plane_home.is_absolute() else BASE_DIR / self.plane_home

    @property
    def node(self) -> str:
        return self.node_name or socket.gethostname()


@lru_cache(maxsize=1)
def load_env() -> Env:
    """The environment of this process; exits with status 2 and one line per wrong value."""
    try:
        return Env()
    except ValidationError as failure:
        for error in failure.errors():
            name = str(error["loc"][0]).upper() if error["loc"] else "environment"
            shown = re.sub(
                r"//[^@/]*@", "//***@", str(os.environ.get(name, error.get("input")))
            )  # no password in a log
            sys.stderr.write(f"{name}={shown!r}: {error['msg']}. See docs/settings.md.\n")
        raise SystemExit(2) from None
