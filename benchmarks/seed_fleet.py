"""A fleet for benchmarks/fleet.py, written by SQL into the plane's tables. PostgreSQL only.

Devices have two tags and an attribute each; nine of ten run the same release, and one of a hundred is revoked. The
token of a device is its number with zeros in front of it.
"""

from __future__ import annotations

from typing import Any

TOKEN_DIGITS = 43
TOKEN = f"'dsd_' || lpad(n::text, {TOKEN_DIGITS}, '0')"
NUMBERS = "generate_series(1, {devices}) n"
NAME = "'press-' || substr(md5(n::text), 1, 6) || '-' || n"  # in another order than the devices came in
OWN = "FROM devices_device d WHERE d.created_by = 'seed'"
NUMBER = "(d.token_prefix::bigint)"

STATEMENTS = [
    f"""INSERT INTO devices_device (project_id, name, kind, state, state_reason, architecture, public_key, token_digest,
        token_prefix, agent_version, note, generation, sampling_rate, running_id, running_since, receipt_counter,
        receipt_digest, mismatch, created_by, enrolled_at)
        SELECT {{project}}, {NAME}, 'agent',
            CASE n %% 100 WHEN 98 THEN 'revoked' WHEN 99 THEN 'quarantined' ELSE 'active' END, '',
            CASE WHEN n %% 4 = 0 THEN 'aarch64' ELSE 'x86_64' END, '', encode(sha256(({TOKEN})::bytea), 'hex'),
            n::text, '1.' || n %% 5, '', 0, 0, CASE WHEN n %% 10 = 9 THEN NULL ELSE {{release}} END, now(), 1, '',
            CASE WHEN n %% 1000 = 7 THEN md5(n::text) ELSE '' END, 'seed', now() - n * interval '1 second'
        FROM {NUMBERS} ORDER BY n + 0""",
    f"""INSERT INTO devices_devicetelemetry (device_id, project_id, last_seen, health, running, installed, metrics,
        clock_offset, address)
        SELECT d.id, d.project_id, CASE WHEN {NUMBER} %% 50 = 3 THEN now() - interval '2 days'
            WHEN {NUMBER} %% 100 = 4 THEN NULL ELSE now() - ({NUMBER} %% 300) * interval '1 second' END,
            CASE WHEN {NUMBER} %% 200 = 5 THEN 'failing' WHEN {NUMBER} %% 20 = 6 THEN 'unknown' ELSE 'healthy' END,
            '', '', '{{{{"latency_ms": 3.5, "predictions": 1200}}}}', 0.2, '10.0.0.1' {OWN} ORDER BY d.id""",
    f"""INSERT INTO devices_devicelabel (device_id, project_id, kind, key, value)
        SELECT d.id, d.project_id, 'tag', 'site', 'site-' || {NUMBER} %% 40 {OWN}
        UNION ALL SELECT d.id, d.project_id, 'tag', 'line', 'line-' || {NUMBER} %% 1000 {OWN}
        UNION ALL SELECT d.id, d.project_id, 'attribute', 'os', 'debian-' || 10 + {NUMBER} %% 4 {OWN}""",
    """INSERT INTO devices_devicecount (project_id, state, release_id, devices)
        SELECT project_id, state, coalesce(running_id, 0), count(*) FROM devices_device GROUP BY 1, 2, 3
        ON CONFLICT (project_id, state, release_id) DO UPDATE SET devices = excluded.devices""",
]


def build_token(number: int) -> str:
    return f"dsd_{number:0{TOKEN_DIGITS}d}"


def is_revoked(number: int) -> bool:
    return number % 100 == 98


def seed_devices(devices: int) -> dict[str, Any]:
    """Devices of the project that the rows of tests/walking.py are in; what the benchmark asks about them."""
    from django.db import connection

    from apps.fleet.devices.models import Device, DeviceGroup
    from apps.fleet.releases.models import Release

    release = Release.objects.latest("pk")
    named = {"devices": devices, "project": release.project_id, "release": release.pk}
    with connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement.format(**named).replace("%%", "%"))
        cursor.execute("VACUUM ANALYZE")
    query = "tag.site = 'site-7' AND attribute.os LIKE 'debian-1%' AND state = 'active'"
    DeviceGroup.objects.create(project_id=release.project_id, name="site-7", query=query, created_by="engineer")
    own = Device.objects.filter(created_by="seed").order_by("pk")
    first, last = own.first(), own.last()
    assert first
    assert last
    assert last.pk - first.pk == devices - 1, "the keys have gaps"
    return {"first": first.pk, "release": release.pk, "name": last.name}
