"""The network between nodes: links, errors, names of the gang, RDMA."""

from __future__ import annotations

import re

from deepseek.doctor.findings import Finding, NotApplicable, Unmeasured, failed, grade, passed, warned
from deepseek.doctor.host import Host
from deepseek.doctor.rules import Rule

NET = "/sys/class/net"
RDMA = "/sys/class/infiniband"


def list_interfaces(host: Host) -> list[str]:
    """Network cards, without loopback and what is made of software alone."""
    names = [name for name in host.list_names(NET) if "device" in host.list_names(f"{NET}/{name}")]
    if not names:
        raise NotApplicable("There is no network card: the machine has loopback alone.")
    return names


def list_up(host: Host) -> list[str]:
    return [name for name in list_interfaces(host) if host.read(f"{NET}/{name}/operstate") in ("up", "unknown")]


def check_links(host: Host, rule: Rule) -> Finding:
    every, up = list_interfaces(host), list_up(host)
    speeds = {name: host.read_number(f"{NET}/{name}/speed") or -1 for name in up}
    why = ", ".join(f"{name} {f'{speed} Mb/s' if speed > 0 else 'without a speed'}" for name, speed in speeds.items())
    if not up:
        return failed(f"No network card has a link: {', '.join(every)}.")
    slow = [name for name, speed in speeds.items() if 0 < speed < rule.number("min_megabits")]
    halved = [name for name in up if host.read(f"{NET}/{name}/duplex") == "half"]
    if slow or halved:
        return warned(f"{why}; slow or half duplex: {', '.join([*slow, *halved])}.")
    return passed(f"{why}.")


def check_errors(host: Host, rule: Rule) -> Finding:
    worst, texts = 0.0, []
    for name in list_up(host):
        counts = {
            key: host.read_number(f"{NET}/{name}/statistics/{key}") or 0
            for key in ("rx_packets", "tx_packets", "rx_errors", "tx_errors")
        }
        errors = counts["rx_errors"] + counts["tx_errors"]
        share = 1e6 * errors / max(1, counts["rx_packets"] + counts["tx_packets"])
        worst = max(worst, share)
        texts.append(f"{name} {errors} errors, {share:.2f} in a million packets")
    why = f"{', '.join(texts)}."
    return grade(worst, why, warn=rule.number("warn_per_million"), fail=rule.number("fail_per_million"))


def check_mtu(host: Host, rule: Rule) -> Finding:
    sizes = {name: host.read_number(f"{NET}/{name}/mtu") for name in list_up(host)}
    why, expected = ", ".join(f"{name} {size}" for name, size in sizes.items()), rule.number("expected")
    if expected and any(size != expected for size in sizes.values()):
        return failed(f"The MTU is {why}; the nodes of the gang have {expected:g}.")
    if len(set(sizes.values())) > 1:
        return warned(f"The network cards have different MTUs: {why}.")
    return passed(f"MTU: {why}.")


def check_loopback(host: Host, rule: Rule) -> Finding:
    answer = host.probe("loopback")
    if answer["error"]:
        return failed(f"A connection over 127.0.0.1 fails: {answer['error']}.")
    why = f"A round trip over 127.0.0.1 takes {answer['milliseconds']:.2f} ms."
    return grade(answer["milliseconds"], why, warn=rule.number("warn_ms"), fail=rule.number("fail_ms"))


def check_plane(host: Host, rule: Rule) -> Finding:
    answer = host.ask_plane("/healthz")
    why = f"The plane answers within {answer['milliseconds']:.0f} ms."
    if answer["status"] != 200:
        return failed(f"The plane at {host.plane_url} does not answer: {answer['error'] or answer['status']}.")
    return grade(answer["milliseconds"], why, warn=rule.number("warn_ms"), fail=rule.number("fail_ms"))


def check_peers(host: Host, rule: Rule) -> Finding:
    peers = rule.texts("peers")
    if not peers:
        raise NotApplicable("No peer is named: this site has one node, or its settings do not list [net.peers] peers.")
    silent = []
    for peer in peers:
        address, _, port = peer.rpartition(":")
        outcome = host.probe("reach", "tcp", address, port)["outcome"]
        if outcome not in ("connected", "refused"):  # a refusal comes from the peer: the way is open
            silent.append(f"{peer} ({outcome})")
    return failed(f"Not reached: {', '.join(silent)}.") if silent else passed(f"{len(peers)} peers are reached.")


def check_gloo(host: Host, rule: Rule) -> Finding:
    answer = host.probe("gloo", seconds=60)  # on GLOO_SOCKET_IFNAME, which torch reads itself
    if not answer["right"]:
        return failed(f"An all-reduce of two processes fails: {answer['error']}")
    rate = float(answer["bytes_per_second"])
    why = f"An all-reduce of two processes moves {rate / 1e6:.0f} MB/s."
    return passed(why) if rate >= rule.number("warn_bytes_per_second") else warned(why)


def list_rdma(host: Host) -> list[str]:
    names = host.list_names(RDMA)
    if not names:
        raise NotApplicable("There is no RDMA device.")
    return names


def list_ports(host: Host) -> list[str]:
    return [
        f"{RDMA}/{name}/ports/{port}" for name in list_rdma(host) for port in host.list_names(f"{RDMA}/{name}/ports")
    ]


def check_rdma(host: Host, rule: Rule) -> Finding:
    devices, expected = list_rdma(host), int(rule.number("expected"))
    nodes = [name for name in host.list_names("/dev/infiniband") if name.startswith("uverbs")]
    why = f"{len(devices)} RDMA devices ({', '.join(devices)}), {len(nodes)} of them for programs"
    if len(nodes) < len(devices):
        return failed(f"{why}: /dev/infiniband/uverbs* is missing.")
    return failed(f"{why}; {expected} are expected.") if expected and len(devices) != expected else passed(f"{why}.")


def check_rdma_state(host: Host, rule: Rule) -> Finding:
    texts, bad = [], []
    for port in list_ports(host):
        state, rate = host.read(f"{port}/state") or "", host.read(f"{port}/rate") or ""
        name = port.split("/")[4]
        texts.append(f"{name} {state.partition(': ')[2]} {rate.partition(' (')[0]}")
        gigabits = float(match[0]) if (match := re.match(r"[\d.]+", rate)) else 0.0
        if "ACTIVE" not in state or gigabits < rule.number("min_gigabits"):
            bad.append(name)
    return failed(f"Not active or slow: {', '.join(texts)}.") if bad else passed(f"{', '.join(texts)}.")


def check_rdma_errors(host: Host, rule: Rule) -> Finding:
    counts: dict[str, int] = {}
    for port in list_ports(host):
        for key in rule.texts("counters"):
            counts[key] = counts.get(key, 0) + (host.read_number(f"{port}/counters/{key}") or 0)
    why = ", ".join(f"{key} {count}" for key, count in counts.items()) + "."
    return grade(max(counts.values(), default=0), why, warn=rule.number("warn_count"), fail=rule.number("fail_count"))


def check_memlock(host: Host, rule: Rule) -> Finding:
    list_rdma(host)
    match = re.search(r"^Max locked memory\s+(\S+)", host.read_required("/proc/self/limits"), re.MULTILINE)
    if match is None:
        raise Unmeasured("/proc/self/limits names no limit of locked memory.")
    if match[1] != "unlimited" and int(match[1]) < rule.number("min_bytes"):
        return failed(f"Programs may lock {match[1]} bytes of memory; RDMA registers buffers by locking them.")
    modules = rule.texts("peer_modules")
    if host.has("/sys/module/nvidia") and not any(host.has(f"/sys/module/{name}") for name in modules):
        return warned(f"None of {', '.join(modules)} is loaded: data of GPUs goes through the memory of the host.")
    return passed(f"Programs may lock {match[1]} of memory, and the module for peer memory is loaded where it is due.")


CHECKS = {
    "net.links": check_links,
    "net.errors": check_errors,
    "net.mtu": check_mtu,
    "net.loopback": check_loopback,
    "net.plane": check_plane,
    "net.peers": check_peers,
    "net.gloo": check_gloo,
    "net.rdma": check_rdma,
    "net.ib_state": check_rdma_state,
    "net.ib_errors": check_rdma_errors,
    "net.memlock": check_memlock,
}
