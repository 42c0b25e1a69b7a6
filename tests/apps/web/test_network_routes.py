"""The lamp "isolated": derived from the kernel's tables, as three hosts have them."""

import pytest

from apps.web import context_processors, network_routes

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
LAN = "eth0\t000010AC\t00000000\t0001\t0\t0\t0\t0000F0FF\t0\t0\t0\n"  # 172.16.0.0/12
DEFAULT = "eth0\t00000000\t010010AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
DOWN = DEFAULT.replace("0003", "0002")
PUBLIC = "eth0\t08080808\t010010AC\t0003\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"  # 8.8.8.8/32
ZERO = "0" * 32
NO_WAY_6 = f"{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200       lo\n"
DEFAULT_6 = f"{ZERO} 00 {ZERO} 00 fd{'0' * 29}1 00000400 00000003 00000000 00000003     eth0\n"
LOCAL_6 = f"fe80{'0' * 28} 40 {ZERO} 00 {ZERO} 00000100 00000002 00000000 00000001     eth0\n"


@pytest.fixture
def kernel(tmp_path):
    """kernel(IPv4 table, IPv6 table or None) -> the folder they lie in."""

    def lay(ipv4, ipv6=None):
        (tmp_path / "route").write_text(HEAD + ipv4)
        if ipv6 is not None:
            (tmp_path / "ipv6_route").write_text(ipv6)
        return tmp_path

    return lay


@pytest.mark.parametrize(("ipv4", "ipv6"), [(LAN, LOCAL_6 + NO_WAY_6), (LAN + DOWN, ""), ("", None)])
def test_no_route_out(kernel, ipv4, ipv6):
    assert network_routes.read_routes(kernel(ipv4, ipv6)).ways_out == []


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "to"),
    [(LAN + DEFAULT, NO_WAY_6, "0.0.0.0/0"), (LAN, DEFAULT_6, "::/0"), (LAN + PUBLIC, "", "8.8.8.8/32")],
)
def test_a_route_out(kernel, ipv4, ipv6, to):
    assert [route.to for route in network_routes.read_routes(kernel(ipv4, ipv6)).ways_out] == [to]


def test_a_host_without_the_tables_is_not_called_isolated(tmp_path):
    seen = network_routes.read_routes(tmp_path)
    assert seen.unknown
    assert seen.ways_out == []


def test_a_route_is_told_as_people_write_it(kernel):
    assert network_routes.read_routes(kernel(LAN + DEFAULT)).routes[1] == network_routes.Route(
        "0.0.0.0/0", "eth0", "172.16.0.1", True
    )


@pytest.mark.parametrize(("table", "label"), [(LAN, "Isolated"), (LAN + DEFAULT, "Default route present")])
def test_the_lamp_and_its_page_say_the_same(table, label, kernel, engineer, web, monkeypatch):
    seen = network_routes.read_routes(kernel(table))
    monkeypatch.setattr(network_routes, "get_snapshot", lambda: seen)
    text = web(engineer).get("/isolation").content.decode()
    assert f'<a href="/isolation">{label}</a>' in text
    assert "172.16.0.0/12" in text


@pytest.mark.parametrize(("may_act", "state"), [(False, "note"), (True, "held")])
def test_a_route_is_no_warning_to_who_cannot_close_it(may_act, state, kernel, monkeypatch):
    seen = network_routes.read_routes(kernel(LAN + DEFAULT))
    monkeypatch.setattr(network_routes, "get_snapshot", lambda: seen)
    monkeypatch.setattr(context_processors, "is_allowed", lambda actor, action: may_act and action == "isolation.view")
    monkeypatch.setattr(context_processors, "get_proof", lambda actor: None)
    monkeypatch.setattr(context_processors, "build_chain_lamp", lambda actor, head: {})
    assert context_processors.build_lamps(None, None, None)[0]["state"] == state


def test_who_sees_no_nodes_sees_no_routes(secadmin, web, kernel, monkeypatch):
    seen = network_routes.read_routes(kernel(LAN))
    monkeypatch.setattr(network_routes, "get_snapshot", lambda: seen)
    assert "172.16.0.0/12" not in web(secadmin).get("/isolation").content.decode()
