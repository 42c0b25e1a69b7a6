"""Two stores, one set of tests: a folder, and an S3 store played by moto on the loopback."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from apps.platform.artifacts import stores
from apps.platform.artifacts.encryption.objects import ObjectCipher
from apps.platform.artifacts.encryption.store import EncryptedStore
from apps.platform.artifacts.local_store import LocalStore

BYTES = b"weights " * 5000


@pytest.fixture(scope="session")
def s3_endpoint():
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def folder(tmp_path, settings):
    """A folder store of this test's own."""
    settings.PLANE_HOME = tmp_path
    settings.ENV = settings.ENV.model_copy(update={"artifact_url": ""})
    return stores.get_store()


@pytest.fixture(scope="session")
def s3_file_system(s3_endpoint):
    """One S3 client for all tests: making one costs more than most tests do with it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = stores.build_store("s3://none/plane", "", s3_endpoint, 0).fs
        client.connect()
    list_uploads = client.list_multipart_uploads

    def list_multipart_uploads(bucket):
        """As moto lists them, which says 2010 of every upload: but begun a moment ago."""
        now = datetime.now(UTC) - timedelta(seconds=1)
        return [upload | {"Initiated": now} for upload in list_uploads(bucket)]

    client.list_multipart_uploads = list_multipart_uploads
    return client


@pytest.fixture
def bucket(settings, s3_endpoint, s3_file_system):
    """An S3 store with a bucket of this test's own."""
    name = f"bucket-{secrets.token_hex(6)}"
    settings.ENV = settings.ENV.model_copy(
        update={"artifact_url": f"s3://{name}/plane", "artifact_s3_endpoint": s3_endpoint}
    )
    found = stores.get_store()
    found._fs = s3_file_system
    found.fs.mkdir(name)
    return found


KEYS = (SecretStr("first:" + base64.b64encode(bytes(range(32))).decode()),)
FORMER_KEYS = (SecretStr("former:" + base64.b64encode(bytes(range(1, 33))).decode()),)


@pytest.fixture
def encrypted(folder, settings):
    """A folder store of this test's own, whose objects are encrypted."""
    settings.ENV = settings.ENV.model_copy(update={"encryption_keys": KEYS, "store_encryption": "aes-256-gcm"})
    return stores.get_store()


@pytest.fixture
def encrypted_bucket(bucket, settings):
    """An S3 store likewise."""
    settings.ENV = settings.ENV.model_copy(update={"encryption_keys": KEYS, "store_encryption": "aes-256-gcm"})
    return stores.get_store()


@pytest.fixture(params=["folder", "bucket"])
def kept(request):
    """The store that the services use: a folder, and a bucket."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["folder", "bucket", "encrypted"])
def each_store(request):
    """Likewise, and a folder that is encrypted: for what depends on how bytes lie there."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def damage():
    """damage(store, digest): flip one bit of a stored object, behind the store's back."""

    def flip(store, digest):
        data = bytearray(b"".join(store.open(digest)))
        data[len(data) // 2] ^= 1
        overwrite(store, digest, bytes(data))

    return flip


@pytest.fixture
def lose():
    """lose(store, digest): remove a stored object behind the store's back."""
    return lambda store, digest: overwrite(store, digest, None)


def overwrite(store, digest, data):
    if isinstance(store, EncryptedStore):
        data = data and ObjectCipher.begin(store.keys.get_active()).header + data
        store = store.encrypted
    if isinstance(store, LocalStore):
        path = store.path_of(digest)
        path.unlink()
        if data is not None:
            path.write_bytes(data)
    elif data is None:
        store.fs.rm_file(store.key_of(digest))
    else:
        store.fs.pipe_file(store.key_of(digest), data)


@pytest.fixture
def left_behind():
    """left_behind(store) -> names of staging files and unfinished multipart uploads."""

    def names(store):
        if isinstance(store, EncryptedStore):
            return names(store.plain) + names(store.encrypted)
        if isinstance(store, LocalStore):
            return sorted(path.name for path in store.staging.glob("*"))
        bucket = store.root.split("/")[0]
        uploads = [upload["Key"] for upload in store.fs.list_multipart_uploads(bucket)]
        return uploads + store.fs.find(f"{store.root}/staging")

    return names


@pytest.fixture
def stored():
    """stored(store, data) -> digest of bytes that lie in the store."""

    def put(store, data=BYTES):
        with store.open_staging() as staging:
            staging.write(data)
            return staging.publish()[0]

    return put
