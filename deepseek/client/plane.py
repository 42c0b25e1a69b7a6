"""A control plane and one project of it, by the token of that project."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from deepseek.client.catalogue import DatasetHandle, ModelHandle, read_chunks
from deepseek.client.credentials import Login, find_login
from deepseek.client.downloads import hash_file
from deepseek.client.errors import ClientError, PlaneRefusal
from deepseek.client.jobs import JobHandle
from deepseek.client.packing import CodeFolder, write_code_zip
from deepseek.client.scripts import ScriptRun
from deepseek.client.transport import Content, PlaneTransport


class Plane:
    """One plane, one token and the project that the token belongs to. It may be used as a context manager.

    Without arguments: `DEEPSEEK_URL` and `DEEPSEEK_TOKEN`, or what `deepseek login` stored. `ca` is a PEM file with the
    site's own certificate authority; `patience` the seconds for which a plane that does not answer is asked again.
    Proxies of the environment are used only with `trust_env=True`.
    """

    def __init__(
        self, url: str = "", token: str = "", *, ca: str = "", patience: float = 0.0, trust_env: bool = False
    ) -> None:
        self._login = find_login(url, token, ca)
        self.transport = PlaneTransport(
            self._login.url, self._login.token, ca=self._login.ca, patience=patience, trust_env=trust_env
        )
        self._project = self._login.project

    def __repr__(self) -> str:
        return f"<Plane {self.url} {self._project}>"

    def __enter__(self) -> Plane:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self.transport.close()

    # -- who --------------------------------------------------------------------------------------------------------
    @property
    def url(self) -> str:
        return self._login.url

    @property
    def project(self) -> str:
        """The project of the token; the plane is asked once."""
        if not self._project:
            self._project = read_project(self.me())
        return self._project

    def me(self) -> dict[str, Any]:
        """Who the plane takes the token for: label, scopes, projects with roles."""
        try:
            me = self.transport.call("GET", "/api/v1/me")
        except PlaneRefusal as refusal:
            if refusal.status != 404:
                raise
            me = None
        if not isinstance(me, dict) or not isinstance(me.get("projects"), dict):
            raise ClientError("no_plane", f"{self.url} does not answer as a plane does.", field="URL", value=self.url)
        return me

    def build_path(self, path: str) -> str:
        """The address of `path` in the project; one that begins with /api, /healthz or /readyz is the plane's own."""
        return path if path.startswith(("/api/", "/healthz", "/readyz")) else f"/api/v1/projects/{self.project}{path}"

    # -- requests ---------------------------------------------------------------------------------------------------
    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET; `path` is below the project, or begins with /api/."""
        return self.transport.call("GET", self.build_path(path), **query)

    def post(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON of a POST."""
        return self.transport.call("POST", self.build_path(path), {} if body is None else body, headers=headers)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: Content | None = None,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Any:
        """The JSON of any request: `body` goes as JSON, `content` as it is."""
        return self.transport.call(method, self.build_path(path), body, content=content, headers=headers, **query)

    def iterate(self, path: str, *, limit: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:
        """The rows of a list, page by page; at most `limit`."""
        return self.transport.iterate_rows(self.build_path(path), limit=limit, **query)

    # -- jobs -------------------------------------------------------------------------------------------------------
    def job(self, number: int) -> JobHandle:
        """A job by its number."""
        return JobHandle(self, self.get(f"/jobs/{int(number)}"))

    def jobs(self, *, limit: int | None = None, **filters: str) -> Iterator[JobHandle]:
        """Jobs of the project, newest first. `filters`: state, kind, requester, name, made_after..."""
        return (JobHandle(self, row) for row in self.iterate("/jobs", limit=limit, **filters))

    def submit(self, kind: str, spec: Mapping[str, Any], *, key: str = "", **body: Any) -> JobHandle:
        """Queue a job of any kind. `body`: inputs, register, name, needs, after... as docs/rest.md has them.

        The same `key` queues it once; without one a key is made, so that a broken connection does not queue two.
        """
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        return JobHandle(self, self.post("/jobs", {"kind": kind, "spec": dict(spec), **body}, headers=headers))

    def run(
        self,
        script: str | Path,
        args: Sequence[str] = (),
        *,
        data: Sequence[str] = (),
        name: str = "",
        nodes: int = 1,
        processes: int = 1,
        gpus: int | None = None,
        cpus: float | None = None,
        memory_bytes: int | None = None,
        outputs: Sequence[str] = (),
        environment: str = "",
        table: str = "",
        register: Mapping[str, str] | None = None,
        folder: str | Path | None = None,
    ) -> JobHandle:
        """Send the folder of a script and queue a `script` job that runs it. Returns at once: see JobHandle.wait.

        `data` are dataset versions (`wti-clean:v1`); the script finds their files at `$DATA/<name>/`. What it writes
        below `$OUT` are its outputs. `processes` is per node. `register`: experiment, dataset (of the output `table`).
        """
        run = ScriptRun(
            script=Path(script),
            args=tuple(args),
            data=tuple(data),
            name=name,
            nodes=nodes,
            processes=processes,
            gpus=gpus,
            cpus=cpus,
            memory_bytes=memory_bytes,
            outputs=tuple(outputs),
            environment=environment,
            table=table,
            register=dict(register or {}),
            folder=None if folder is None else Path(folder),
        )
        return self.submit_script(run, run.scan())

    def submit_script(self, run: ScriptRun, code: CodeFolder) -> JobHandle:
        """Check what a run names, send its code and queue it."""
        for reference in run.list_references():
            try:
                self.dataset(reference.name).version(reference.version)
            except ClientError as error:
                error.field = "--data" if error.code == "version_unknown" else error.field
                raise
        body = run.build_body(self.upload_code(code))
        return self.submit(body.pop("kind"), body.pop("spec"), **body)

    def upload_code(self, code: CodeFolder) -> str:
        """Send a code folder as a zip, unless the project holds the same already; returns its SHA-256."""
        with tempfile.TemporaryFile() as file:
            digest = write_code_zip(code, file)
            if not self.has_artifact(digest):
                headers = {"Content-Type": "application/zip", "Content-Length": str(file.seek(0, 2))}
                self.call("PUT", f"/artifacts/{digest}", content=lambda: _reread(file), headers=headers)
        return digest

    # -- artifacts, datasets, models --------------------------------------------------------------------------------
    def upload(self, path: str | Path, *, media_type: str = "application/octet-stream") -> str:
        """Store a file in the project, unless it is there; returns its SHA-256."""
        path = Path(path)
        digest = hash_file(path)
        if not self.has_artifact(digest):
            headers = {"Content-Type": media_type, "Content-Length": str(path.stat().st_size)}
            self.call("PUT", f"/artifacts/{digest}", content=lambda: read_chunks(path), headers=headers)
        return digest

    def has_artifact(self, digest: str) -> bool:
        """Whether the project holds these bytes."""
        try:
            self.get(f"/artifacts/{digest}/info")
        except PlaneRefusal as refusal:
            if refusal.status == 404:
                return False
            raise
        return True

    def datasets(self, *, limit: int | None = None, query: str = "") -> Iterator[dict[str, Any]]:
        """Datasets, newest first; `query` is a part of the name or the description."""
        return self.iterate("/datasets", limit=limit, q=query)

    def dataset(self, name: str) -> DatasetHandle:
        return DatasetHandle(self, name)

    def models(self, *, limit: int | None = None, query: str = "") -> Iterator[dict[str, Any]]:
        """Models, newest first; `query` is a part of the name or the description."""
        return self.iterate("/models", limit=limit, q=query)

    def model(self, name: str) -> ModelHandle:
        return ModelHandle(self, name)


def read_project(me: Mapping[str, Any]) -> str:
    """The one project of a token. Raises ClientError ``no_project`` where its owner has no role there any more."""
    projects = sorted(me["projects"])
    if len(projects) != 1:
        raise ClientError(
            "no_project",
            f"The token opens {len(projects)} projects.",
            field="token",
            value=", ".join(projects) or "none: its owner has no role in the project any more",
            limit="a token of one project",
            hint="Make a token in the project, under Account, API tokens.",
        )
    return str(projects[0])


def check_login(login: Login) -> tuple[Login, dict[str, Any]]:
    """Ask the plane whose token it is; returns the login with its project, and what the plane told."""
    with Plane(login.url, login.token, ca=login.ca) as plane:
        me = plane.me()
    return Login(login.url, login.token, read_project(me), login.ca), me


def _reread(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(1 << 20):
        yield chunk
