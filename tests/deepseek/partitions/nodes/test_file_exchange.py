"""Files between nodes: whole or not at all, below one folder, and for those with a certificate of the attempt only."""

import errno
import io
import os
import socket
import ssl

import pytest

from deepseek.partitions.nodes.file_exchange import FileClient, FileServer, receive_file
from tests.deepseek.partitions.nodes.conftest import write_credentials


@pytest.fixture
def exchange(tmp_path):
    """The client of a server; folders `first` and `second`."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    credentials = write_credentials(tmp_path / "credentials")
    server = FileServer(tmp_path / "first", "127.0.0.1", credentials)
    yield FileClient(tmp_path / "second", server.address, credentials)
    server.close()


def test_files_go_both_ways(exchange, tmp_path):
    (tmp_path / "first/kept 1.arrow").write_bytes(b"a" * 3_000_000)
    (tmp_path / "first/folder").mkdir()
    assert exchange.fetch("kept 1.arrow").read_bytes() == b"a" * 3_000_000
    assert exchange.fetch("folder").is_dir()
    (tmp_path / "second/written").write_bytes(b"b" * 2_000_000)
    exchange.hand_in("written")
    assert (tmp_path / "first/written").read_bytes() == b"b" * 2_000_000
    with pytest.raises(FileNotFoundError):
        exchange.fetch("absent")


@pytest.mark.parametrize("name", ["../secret", "folder/../../secret", "a//b", "x" * 600], ids=range(4))
def test_no_name_leads_out_of_the_folder(exchange, tmp_path, name):
    (tmp_path / "secret").write_text("of another")
    with pytest.raises(OSError, match="no file"):
        FileClient(tmp_path / "second/below", exchange.address, exchange.credentials).fetch(name)


def test_another_authority_is_refused(exchange, tmp_path):
    (tmp_path / "first/file").write_text("of the attempt")
    stranger = FileClient(tmp_path / "second", exchange.address, write_credentials(tmp_path / "other"))
    with pytest.raises(ssl.SSLError):
        stranger.fetch("file")
    anonymous = ssl.create_default_context(cafile=str(exchange.credentials.authority))
    anonymous.check_hostname = False
    assert ask_for_file(exchange.address, anonymous) == b""


def ask_for_file(address, context) -> bytes:
    """The first byte of the answer, nothing where there is none."""
    try:
        with socket.create_connection(address) as plain, context.wrap_socket(plain) as connection:
            connection.sendall(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
            return connection.recv(1)
    except OSError:
        return b""


def test_a_full_disk_of_the_first_node_is_said(exchange, tmp_path, monkeypatch):
    (tmp_path / "second/written").write_bytes(b"b" * 5_000_000)
    monkeypatch.setattr(
        "deepseek.partitions.nodes.file_exchange.os.fdopen", lambda handle, *args, **options: FullDisk(handle)
    )
    with pytest.raises(OSError, match="on the first node") as caught:
        exchange.hand_in("written")
    assert caught.value.errno == errno.ENOSPC
    assert not list((tmp_path / "first").iterdir())


class FullDisk(io.FileIO):
    def write(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_cut_transfer_leaves_nothing(tmp_path):
    with (tmp_path / "source").open("w+b") as source:
        source.write(b"half")
        source.seek(0)
        assert not receive_file(source, 8, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
