"""What a server refuses: it goes on serving, and its parameters stay as they were."""

import json
import socket

import pyarrow as pa
import pyarrow.flight as flight
import pytest
import torch

from deepseek.distributed.certificates import build_certificate
from deepseek.distributed.checkpoint import ShardCheckpoint, ShardProgress, get_checkpoint_path, write_checkpoint
from deepseek.distributed.flight_server import ShardServer
from deepseek.distributed.memory import SharedVector, map_claim
from deepseek.distributed.options import FitOptions, ServerOptions
from deepseek.distributed.wire import SCHEMA

TOKEN = "t" * 43
SIZE = 10
HELLO = {"rank": 0, "session": "s", "layout": "l"}
OPTIONS = FitOptions("sgd", 0.5, 2, "async", 4, 0.0, 0.0, 1, 0, 1, 0)


def serve(folder, certificate=None):
    write_checkpoint(get_checkpoint_path(folder, 0), ShardCheckpoint(torch.zeros(SIZE), {}, ShardProgress("l")))
    server = ServerOptions(2, 1, 10, 1, False)
    return ShardServer(folder, 0, server, OPTIONS, token=TOKEN, certificate=certificate)


@pytest.fixture
def server(tmp_path):
    server = serve(tmp_path)
    yield server
    server.shutdown()


@pytest.fixture
def client(server):
    with flight.FlightClient(server.address.location) as client:
        yield client


def options(token=TOKEN):
    return flight.FlightCallOptions(timeout=10, headers=[(b"authorization", f"Bearer {token}".encode())])


def act(client, name, body=b"", token=TOKEN):
    return b"".join(r.body.to_pybytes() for r in client.do_action(flight.Action(name, body), options(token)))


def push(client, hello, values, schema=SCHEMA, header=b'{"step": 0, "epoch": 0, "loss": 1.0}'):
    """Attach, push one message, and return the parameters of the answer."""
    command = hello if isinstance(hello, bytes) else json.dumps(hello).encode()
    writer, reader = client.do_exchange(flight.FlightDescriptor.for_command(command), options())
    try:
        writer.begin(schema)
        reader.read_chunk()
        writer.write_with_metadata(pa.record_batch([values], schema=schema), header)
        return reader.read_chunk().data.column(0).to_pylist()
    finally:
        reader.cancel()


def ones(size=SIZE, kind="float32"):
    return pa.array([1.0] * size, kind)


def check_still_serves(client, server):
    assert server.shard.progress.steps == 0
    assert push(client, HELLO, ones()) == [-0.5] * SIZE


@pytest.mark.parametrize("token", ["", "u" * 43, "t" * 42, "t" * 44])
def test_wrong_token_is_refused(client, server, token):
    with pytest.raises(flight.FlightUnauthenticatedError, match="not the token"):
        act(client, "status", token=token)
    with pytest.raises(flight.FlightUnauthenticatedError):
        list(client.do_action(flight.Action("status", b"")))
    with pytest.raises(flight.FlightUnauthenticatedError):
        client.do_get(flight.Ticket(b""), options(token)).read_all()
    check_still_serves(client, server)


LONG = json.dumps({**HELLO, "more": "x" * 5000}).encode()
FLOAT64 = pa.schema([pa.field("values", pa.float64(), nullable=False)])
NULLABLE = pa.schema([pa.field("values", pa.float32())])
TWO = b'{"step": 0, "epoch": 0'


@pytest.mark.parametrize(
    ("hello", "message"),
    [
        (b"\x00\xff\xfe garbage", "not a JSON object"),
        (b"[" * 4000, "not a JSON object"),
        (b"[]", "not a JSON object"),
        (LONG, "at most 4,096 bytes"),
        ({**HELLO, "rank": 2}, "rank is 2; send an integer from 0 to 1"),
        ({**HELLO, "rank": "0"}, "rank is 0; send an integer"),
        ({**HELLO, "session": ""}, "session is missing"),
        ({**HELLO, "layout": "other"}, "another module in worker 0"),
        ({**HELLO, "clock": -1}, "clock is -1"),
    ],
)
def test_wrong_command_is_refused(client, server, hello, message):
    with pytest.raises(pa.ArrowInvalid, match=message):
        push(client, hello, ones())
    check_still_serves(client, server)


@pytest.mark.parametrize(
    ("values", "schema", "header", "message"),
    [
        (ones(SIZE + 1), SCHEMA, None, "has 11 values; 10 without nulls are due"),
        (ones(SIZE - 1), SCHEMA, None, "has 9 values; 10"),
        (ones(0), SCHEMA, None, "has 0 values; 10"),
        (ones(kind="float64"), FLOAT64, None, "values: double; send one column of float32"),
        (pa.array([1.0] * 9 + [None], pa.float32()), NULLABLE, None, "send one column of float32"),
        (ones(), SCHEMA, b"garbage", "not a JSON object"),
        (ones(), SCHEMA, b'{"step": -1, "epoch": 0, "loss": 1}', "step is -1"),
        (ones(), SCHEMA, b'{"step": 0, "epoch": 2, "loss": 1}', "epoch is 2; send an integer from 0 to 1"),
        (ones(), SCHEMA, b'{"step": 0, "epoch": 0, "loss": NaN}', "loss is missing or not finite"),
    ],
)
def test_wrong_message_is_refused(client, server, values, schema, header, message):
    with pytest.raises(pa.ArrowInvalid, match=message):
        push(client, HELLO, values, schema, header or b'{"step": 0, "epoch": 0, "loss": 1}')
    check_still_serves(client, server)


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("shutdown", b"", "There is no action 'shutdown'"),
        ("__init__", b"", "There is no action"),
        ("heartbeat", b"\xff" * 100, "not a JSON object"),
        ("put_state", json.dumps(HELLO).encode() + b"\n\xff\xff", "state cannot be read"),
        ("put_initial_state", b"", "has a state already"),
    ],
)
def test_wrong_action_is_refused(client, server, name, body, message):
    server.shard.attach(0, "s", None)
    with pytest.raises(pa.ArrowInvalid, match=message):
        act(client, name, body)
    check_still_serves(client, server)


def test_second_initial_parameters_are_refused(client, server):
    def put():
        descriptor = flight.FlightDescriptor.for_command(b'{"size": 10, "layout": "l"}')
        writer, _ = client.do_put(descriptor, SCHEMA, options())
        with writer:
            writer.write_batch(pa.record_batch([ones()], schema=SCHEMA))

    with pytest.raises((pa.ArrowInvalid, flight.FlightError), match="already has parameters"):
        put()
    check_still_serves(client, server)


def test_a_shard_that_ends_applies_nothing_more(client, server):
    with pytest.raises((pa.ArrowInvalid, flight.FlightError)):
        act(client, "end", json.dumps({"rank": 7, "session": "s"}).encode())
    assert server.shard.progress.is_ending is False
    act(client, "end", json.dumps({"rank": 0, "session": "s"}).encode())
    assert push(client, HELLO, ones()) == [0.0] * SIZE
    assert server.shard.progress.steps == 0


def test_optimizer_to_begin_with_is_refused_afterwards(client, server):
    with pytest.raises((pa.ArrowInvalid, flight.FlightError), match="has parameters already"):
        act(client, "put_optimizer", b"")
    check_still_serves(client, server)


def test_memory_that_cannot_be_mapped_leaves_the_stream(client, server):
    claim = {"pid": 1, "descriptor": 0, "name": "parameter-server-" + "0" * 32, "start": 0}
    assert push(client, {**HELLO, "memory": claim}, ones()) == [-0.5] * SIZE
    assert push(client, {**HELLO, "session": "t", "memory": "garbage"}, ones()) == [-0.5] * SIZE  # step 0 once more


def test_memory_is_read_in_place_of_the_stream(client, server):
    memory = SharedVector(SIZE + 3)
    memory.tensor.fill_(2.0)
    command = json.dumps({**HELLO, "memory": memory.claim | {"start": 3}}).encode()
    writer, reader = client.do_exchange(flight.FlightDescriptor.for_command(command), options())
    writer.begin(SCHEMA)
    parameters = map_claim(json.loads(bytes(reader.read_chunk().app_metadata))["memory"], SIZE)
    writer.write_metadata(b'{"step": 0, "epoch": 0, "loss": 1.0}')
    assert json.loads(bytes(reader.read_chunk().app_metadata)) == {"clock": 1, "ending": False}
    assert parameters.tolist() == [-1.0] * SIZE
    writer.write_with_metadata(pa.record_batch([ones()], schema=SCHEMA), b'{"step": 1, "epoch": 0, "loss": 1.0}')
    with pytest.raises(pa.ArrowInvalid, match="its vector lies in shared memory"):
        reader.read_chunk()
    assert parameters.tolist() == [-1.0] * SIZE


def test_bytes_that_are_no_call_are_survived(client, server):
    for data in (b"\x00" * 1000, b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
            raw.sendall(data)
    check_still_serves(client, server)


def test_certificate_of_another_fit_is_not_trusted(tmp_path):
    server = serve(tmp_path, build_certificate())
    try:
        for pem, is_trusted in ((server.address.certificate, True), (build_certificate().certificate, False)):
            names = {"tls_root_certs": pem, "override_hostname": "parameter-server"}
            with flight.FlightClient(server.address.location, **names) as client:
                if is_trusted:
                    assert json.loads(act(client, "status"))["initialised"]
                else:
                    with pytest.raises(flight.FlightUnavailableError):
                        act(client, "status")
    finally:
        server.shutdown()
