from __future__ import annotations

import base64

import pytest
from django.test import Client

from apps.site.mirror import services
from apps.site.mirror.environments import build_environments
from tests.package_files import hash_file, write_sums


@pytest.fixture
def upload(make_token):
    """upload(path, user or None, **fields) -> the answer of /legacy/ to twine's form."""

    def send(path, user, **fields):
        headers = {}
        if user is not None:
            secret = user if isinstance(user, str) else make_token(user)[0]
            headers["Authorization"] = "Basic " + base64.b64encode(f"__token__:{secret}".encode()).decode()
        form = {":action": "file_upload", "protocol_version": "1", "sha256_digest": hash_file(path)}
        with path.open("rb") as content:
            data = {key: value for key, value in {**form, **fields, "content": content}.items() if value is not None}
            return Client().post("/legacy/", data, headers=headers)

    return send


@pytest.fixture
def publish(db, operator):
    """publish(folder, **options) -> the report of the import of all wheels that lie there."""

    def take(folder, *, sums=True, **options):
        if sums:
            write_sums(folder)
        return services.import_folder(actor=operator, folder=folder, environments=build_environments(), **options)

    return take
