"""A service on a socket that it was given: two of them on one socket answer side by side."""

import os
import socket
from contextlib import suppress

import pytest

from deepseek.job import EngineError
from deepseek.serve.command import take_listener


def test_a_listening_socket_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as given, take_listener(os.dup(given.fileno())) as taken:
        assert taken.getsockname() == given.getsockname()
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_what_is_no_listener_is_refused(tmp_path):
    with (tmp_path / "file").open("w") as file, socket.socket() as idle, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "socket"))
        local.listen()
        descriptors = [os.dup(each.fileno()) for each in (file, idle, local)]
        for descriptor in (*descriptors, 60_000):
            with pytest.raises(EngineError) as caught:
                take_listener(descriptor)
            assert (caught.value.code, caught.value.field) == ("not_a_listener", "--listen-descriptor")
        with suppress(OSError):  # a socket that was refused is closed
            os.close(descriptors[0])
