"""One policy as rules of iptables and of nftables, and the saved tables that iptables restores."""

from __future__ import annotations

from deepseek import cli
from deepseek.isolation import hosts, iptables
from deepseek.isolation.nftables import render_table
from deepseek.isolation.rules import Allowance, build_allowances, is_let_through
from deepseek.isolation.spec import Policy, build_digest

TYPED = [  # as the source text has them
    "iptables -P OUTPUT DROP",
    "iptables -A OUTPUT -d 127.0.0.1 -j ACCEPT",
    "iptables -A OUTPUT -d 192.168.1.0/24 -j ACCEPT",
]
SAVED = """\
*filter
:INPUT ACCEPT [5:300]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [7:420]
:site - [0:0]
[3:180] -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
[0:0] -A OUTPUT -d 10.79.0.9/32 -j site
[0:0] -A site -j DROP
COMMIT
"""


def test_render_prints_the_rules_of_the_text_first(capsys):
    assert cli.main(["isolate", "render", "--network", "192.168.1.0/24"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    assert lines[:3] == TYPED
    assert "\t\tip daddr 192.168.1.0/24 accept" in lines


def test_a_policy_in_toml_with_names_and_ports(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hosts, "look_up", lambda name: ["10.0.0.7", "fd00:1::7"])
    path = tmp_path / "policy.toml"
    path.write_text(
        'names = ["plane.internal"]\nnetworks = ["fd00:2::/64"]\n'
        '[[ports]]\nto = "Git.internal"\nports = [443, "8000-8100"]\n'
        '[[ports]]\nto = "10.0.0.53"\nprotocol = "udp"\nports = [53]\n'
    )
    assert cli.main(["isolate", "render", str(path)]) == 0
    text = capsys.readouterr().out
    for line in (
        "iptables -A OUTPUT -d 10.0.0.7 -j ACCEPT",
        "iptables -A OUTPUT -d 10.0.0.7 -p tcp -m multiport --dports 443,8000:8100 -j ACCEPT",
        "iptables -A OUTPUT -d 10.0.0.53 -p udp --dport 53 -j ACCEPT",
        "ip6tables -A OUTPUT -d fd00:2::/64 -j ACCEPT",
        "ip6tables -A OUTPUT -p ipv6-icmp --icmpv6-type 135 -j ACCEPT",
        "\t\tip6 daddr fd00:1::7 tcp dport { 443, 8000-8100 } accept",
    ):
        assert f"{line}\n" in text


def test_what_the_rules_let_through():
    allowances = build_allowances(
        Policy(networks=["10.1.0.0/24"], ports=[{"to": "10.2.0.1", "ports": ["80", "90-99"]}]), {}
    )
    cases = {
        ("127.0.0.1", "tcp", 1): True,
        ("::1", "tcp", 1): True,
        ("10.1.0.255", "udp", 53): True,
        ("10.2.0.1", "tcp", 80): True,
        ("10.2.0.1", "tcp", 99): True,
        ("10.2.0.1", "udp", 80): False,
        ("10.2.0.1", "tcp", 443): False,
        ("fd00::1", "tcp", 80): False,
    }
    assert {case: is_let_through(allowances, *case) for case in cases} == cases


def test_a_saved_table_gets_the_rules_and_loses_them_again():
    allowances = [Allowance("192.168.1.0/24")]
    table = iptables.add_rules(SAVED, allowances, 4, forwarded=True)
    lines = table.splitlines()
    assert ":OUTPUT DROP [7:420]" in lines
    assert lines.index(f"-A OUTPUT -m comment --comment {iptables.MARK} -j {iptables.CHAIN}_OUTPUT") < lines.index(
        "[0:0] -A OUTPUT -d 10.79.0.9/32 -j site"
    )
    assert iptables.add_rules(table, allowances, 4, forwarded=True) == table
    assert iptables.remove_rules(table, iptables.read_policies(SAVED)) == SAVED


def test_counters_of_a_saved_table():
    saved = (
        f"[4:240] -A {iptables.CHAIN}_OUTPUT -p tcp -m comment --comment {iptables.MARK}:tcp -j REJECT\n"
        f"[1:60] -A {iptables.CHAIN}_FORWARD -p tcp -m comment --comment {iptables.MARK}:tcp -j REJECT\n"
        f"[2:9] -A {iptables.CHAIN}_OUTPUT -m comment --comment {iptables.MARK}:other -j REJECT\n"
    )
    assert iptables.read_counters(saved) == {"tcp": 5, "other": 2}


def test_only_an_armed_table_accepts_what_its_rules_do_not_name():
    assert "policy drop" in render_table([])
    assert "policy accept" in render_table([], armed_seconds=90)
    assert render_table([], forwarded=True).count('counter name "refused_tcp"') == 2


def test_the_digest_is_that_of_the_policy():
    assert build_digest(Policy(networks=["10.1.0.0/24"])) == build_digest(Policy(networks=[" 10.1.0.0/24"]))
    assert build_digest(Policy()) != build_digest(Policy(forwarded=True))
