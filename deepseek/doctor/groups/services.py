"""Services of the plane, asked by REST, and the security of this machine.

`/readyz` needs no token. What only the plane itself can see (`/api/v1/doctor/plane-health`) needs a node's token.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from deepseek.doctor.findings import Finding, NotApplicable, Unmeasured, failed, grade, grade_floor, passed, warned
from deepseek.doctor.groups.storage import get_home
from deepseek.doctor.groups.system import read_today
from deepseek.doctor.host import Host
from deepseek.doctor.rules import Rule


# -- the plane ------------------------------------------------------------------------------------------------------
def read_part(host: Host, name: str) -> dict[str, Any]:
    """A part of /readyz. Raises Unmeasured where the plane does not answer."""
    answer = host.ask_plane("/readyz")
    parts = (answer["document"] or {}).get("parts")
    if not isinstance(parts, dict):
        raise Unmeasured(f"The plane does not answer: {answer['error'] or answer['status']}.")
    part: dict[str, Any] = parts.get(name) or {"ok": False, "detail": "not told: the plane is of another version"}
    return part


def read_health(host: Host, name: str) -> dict[str, Any]:
    """What the plane tells a node of its own parts. Raises Unmeasured where it refuses."""
    answer = host.ask_plane("/api/v1/doctor/plane-health")
    if answer["status"] in (401, 403):
        raise Unmeasured("The plane tells this to nodes alone: set DEEPSEEK_TOKEN to the node's token.")
    part = (answer["document"] or {}).get(name)
    if not isinstance(part, dict):
        raise Unmeasured(f"The plane does not tell it: {answer['error'] or answer['status']}.")
    return part


def check_part(host: Host, rule: Rule) -> Finding:
    """A part that /readyz names."""
    texts, bad = [], []
    for name in rule.texts("parts"):
        part = read_part(host, name)
        texts.append(f"{name} {part.get('detail', '')}".strip())
        if not part.get("ok"):
            bad.append(name)
    return failed(f"Not ready: {', '.join(texts)}.") if bad else passed(f"{', '.join(texts)}.")


def check_database(host: Host, rule: Rule) -> Finding:
    part = read_part(host, "database")
    if not part.get("ok"):
        return failed(f"The database is not ready: {part.get('detail')}.")
    pending = read_health(host, "database").get("pending_migrations") or []
    if pending:
        return failed(f"{len(pending)} migrations are not applied, the first {pending[0]}.")
    return passed(f"The database ({part.get('detail')}) answers, and every migration is applied.")


def check_database_mode(host: Host, rule: Rule) -> Finding:
    database = read_health(host, "database")
    vendor = str(database.get("vendor"))
    expected = dict(text.split("=", 1) for text in rule.texts(vendor if vendor in rule.thresholds else "sqlite"))
    wrong = [
        f"{name} is {database.get(name)}, not {value}"
        for name, value in expected.items()
        if str(database.get(name)) not in value.split("|")
    ]
    if wrong:
        return failed(f"The database has {'; '.join(wrong)}.")
    return passed(f"The database ({vendor}) has {', '.join(f'{name} {database[name]}' for name in expected)}.")


def check_registry(host: Host, rule: Rule) -> Finding:
    return check_configured_service(host, rule, "The image registry", "/v2/", (200, 401))


def check_label_studio(host: Host, rule: Rule) -> Finding:
    return check_configured_service(host, rule, "Label Studio", "/health", (200,))


def check_configured_service(host: Host, rule: Rule, name: str, path: str, good: tuple[int, ...]) -> Finding:
    url = rule.text("url")
    if not url:
        raise NotApplicable(f"{name} is not configured: set [{rule.id}] url.")
    answer = host.probe("fetch", url.rstrip("/") + path)
    if answer["status"] not in good:
        return failed(f"{name} at {url} does not answer: {answer['error'] or answer['status']}.")
    return passed(f"{name} at {url} answers {answer['status']}.")


def check_web(host: Host, rule: Rule) -> Finding:
    answer = host.ask_plane("/healthz")
    if answer["status"] != 200:
        return failed(f"The plane does not answer: {answer['error'] or answer['status']}.")
    if not host.plane_url.startswith("https://") and not is_loopback(host.plane_url):
        return failed(f"{host.plane_url} is not encrypted: tokens cross the network in clear.")
    return passed(f"The plane answers at {host.plane_url}.")


def is_loopback(url: str) -> bool:
    return bool(re.match(r"https?://(?:127\.|localhost\b|\[::1\])", url))


# -- security -------------------------------------------------------------------------------------------------------
def probe_tls(host: Host) -> dict[str, Any]:
    host.require_plane()
    if not host.plane_url.startswith("https://"):
        raise NotApplicable("The plane is not reached over TLS.")
    return host.probe("tls")


def check_certificates(host: Host, rule: Rule) -> Finding:
    answer = probe_tls(host)
    if answer["error"]:
        return failed(f"The certificate of the plane is not trusted: {answer['error']}.")
    days = float(answer["days_left"])
    why = f"The certificate of the plane is trusted, and valid for {days:.0f} days."
    return grade_floor(days, why, warn=rule.number("warn_days"), fail=rule.number("fail_days"))


def check_tls(host: Host, rule: Rule) -> Finding:
    old = [version for version in probe_tls(host)["versions"] if version not in rule.texts("allowed")]
    if old:
        return failed(f"The plane's address still speaks {', '.join(old)}.")
    return passed(f"The plane's address speaks {', '.join(probe_tls(host)['versions'])} alone.")


def check_modes(host: Host, rule: Rule) -> Finding:
    answer = host.probe("secret_files", get_home(host), *rule.texts("patterns"))
    if answer["open"]:
        return failed(f"Others may read {', '.join(answer['open'][:5])}.")
    if not answer["count"]:
        raise NotApplicable(f"There is no secret of the plane at {get_home(host)}.")
    return passed(f"{answer['count']} secrets can be read by their owner alone.")


def list_listening(host: Host) -> set[int]:
    """TCP ports that answer on other addresses than loopback."""
    ports = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (host.read(path) or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) < 4 or fields[3] != "0A":
                continue
            address, _, port = fields[1].rpartition(":")
            is_local = address.endswith("7F") if len(address) == 8 else address == "0" * 24 + "01000000"
            if not is_local:
                ports.add(int(port, 16))
    return ports


def check_ports(host: Host, rule: Rule) -> Finding:
    host.read_required("/proc/net/tcp")
    allowed: set[int] = set()
    for text in rule.texts("allowed"):
        first, _, last = text.partition("-")
        allowed.update(range(int(first), int(last or first) + 1))
    unplanned = sorted(list_listening(host) - allowed)
    if unplanned:
        return warned(f"Listening for other machines, and not in the policy: {', '.join(map(str, unplanned[:12]))}.")
    return passed("Every port that listens for other machines is in the policy.")


def check_accounts(host: Host, rule: Rule) -> Finding:
    rows = [line.split(":") for line in host.read_required("/etc/passwd").splitlines() if line.count(":") == 6]
    shells = {row[0] for row in rows if not row[6].endswith(("nologin", "false"))}
    numbers = [row[2] for row in rows]
    shared = sorted({row[0] for row in rows if numbers.count(row[2]) > 1})
    shadow = host.read("/etc/shadow")
    empty = [
        line.split(":")[0] for line in (shadow or "").splitlines() if line.count(":") >= 2 and not line.split(":")[1]
    ]
    in_passwd = [row[0] for row in rows if not row[1]]
    if empty or in_passwd:
        return failed(f"Accounts without a password: {', '.join([*empty, *in_passwd])}.")
    if shared:
        return failed(f"Accounts that share a number: {', '.join(shared)}.")
    if shadow is None:
        raise Unmeasured("/etc/shadow cannot be read: run as root.")
    return passed(f"{len(shells)} accounts can log in; none is without a password or shared.")


def check_audit(host: Host, rule: Rule) -> Finding:
    audit = read_health(host, "audit")
    if audit.get("is_verified") is False:
        return failed("The last verification of the audit trail failed.")
    lag = float(audit.get("seal_lag_seconds") or 0)
    why = f"Records are sealed after {lag:.0f} s at most; last verified {audit.get('verified_at') or 'never'}."
    if audit.get("verified_at") is None:
        return warned(why)
    return grade(lag, why, warn=rule.number("warn_seconds"), fail=rule.number("fail_seconds"))


def count_days(host: Host, moment: str | None) -> float:
    """Days since a time in ISO 8601; infinite for none."""
    if not moment:
        return float("inf")
    day = datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone(UTC).date()
    return float((read_today(host) - day).days)


def check_backup(host: Host, rule: Rule) -> Finding:
    backup = read_health(host, "backup")
    backup_days, drill_days = count_days(host, backup.get("made_at")), count_days(host, backup.get("drilled_at"))
    why = f"The last backup is {describe_days(backup_days)}, the last restore drill {describe_days(drill_days)}."
    if backup_days > rule.number("fail_days"):
        return failed(why)
    is_late = backup_days > rule.number("warn_days") or drill_days > rule.number("warn_drill_days")
    return warned(why) if is_late else passed(why)


def describe_days(days: float) -> str:
    return "not recorded" if days == float("inf") else f"{days:.0f} days old"


def check_signatures(host: Host, rule: Rule) -> Finding:
    for path in rule.texts("databases"):
        header = host.source.read_bytes(path)
        match = re.match(rb"ClamAV-VDB:(\d{2} \w{3} \d{4})", header[:100] if header else b"")
        if match:
            issued = datetime.strptime(match[1].decode(), "%d %b %Y").replace(tzinfo=UTC).date()
            days = (read_today(host) - issued).days
            why = f"The malware signatures in {path} are {days} days old."
            return grade(days, why, warn=rule.number("warn_days"), fail=rule.number("fail_days"))
    raise NotApplicable("No malware scanner (ClamAV) is installed.")


CHECKS = {
    "svc.database": check_database,
    "svc.db_mode": check_database_mode,
    "svc.broker": check_part,
    "svc.store": check_part,
    "svc.registry": check_registry,
    "svc.label_studio": check_label_studio,
    "svc.dispatcher": check_part,
    "svc.web": check_web,
    "sec.certs": check_certificates,
    "sec.tls": check_tls,
    "sec.modes": check_modes,
    "sec.ports": check_ports,
    "sec.accounts": check_accounts,
    "sec.audit": check_audit,
    "sec.backup": check_backup,
    "sec.signatures": check_signatures,
}
