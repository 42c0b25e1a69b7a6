"""8.1.4.7 to 8.1.4.11: integrity and confidentiality of data, backup, what is left behind, personal data."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.contrib.auth.hashers import identify_hasher
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from apps.core.actors import ProjectRole, SystemRole
from apps.core.canonical import sha256_hex
from apps.data.personal_data.models import PersonalColumn
from apps.data.personal_data.plane_tables import PLANE_TABLES, list_unlisted_fields
from apps.data.personal_data.queries import count_overdue
from apps.platform.accounts.models import ApiToken, User
from apps.platform.accounts.services import create_token
from apps.platform.artifacts.local_store import LocalStore
from apps.platform.artifacts.store import Store
from apps.platform.artifacts.stores import build_encrypted_store, get_store_folder
from apps.platform.audit.keys import get_private_key_path
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.notices.models import Webhook
from apps.site.compliance.probes.context import STRONG, ProbeContext, expect, is_login_redirect
from apps.site.compliance.probes.outcomes import Attempt, Mode, NotApplicable, ProbeTable
from apps.site.compliance.texts import Bilingual as T
from apps.site.snapshots.queries import get_recovery_status
from apps.site.snapshots.states import OperationState

TABLE = ProbeTable()
MAX_BACKUP_DAYS = 8
MAX_DRILL_DAYS = 92
MAX_SCRATCH_SECONDS = 3600
STRONG_HASHES = ("argon2", "scrypt", "bcrypt_sha256")


# -- integrity --------------------------------------------------------------------------------------------------------
@TABLE.register("upload-digests")
def probe_upload_digests(context: ProbeContext) -> Iterator[Attempt]:
    project = context.create_project()
    actor = context.get_actor(context.create_member(project, ProjectRole.ENGINEER))
    _, secret = create_token(actor=actor, project=project, name="p", scopes=["data:write", "read"])
    sent, announced = secrets.token_bytes(64), sha256_hex(secrets.token_bytes(64))
    response = context.open_browser().put(
        f"/api/v1/projects/{project.slug}/artifacts/{announced}",
        sent,
        content_type="application/octet-stream",
        HTTP_AUTHORIZATION=f"Bearer {secret}",
    )
    text = T("Upload bytes that differ from their announced digest", "上传与声明摘要不符的数据")
    yield expect(text, response, 400, 409, 422)


@TABLE.register("stored-bytes", Mode.READING)
def probe_stored_bytes(context: ProbeContext) -> Iterator[Attempt]:
    """In a store of the same kind in a folder of its own: bytes of the plane's are not altered to see what happens."""
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        store = LocalStore(Path(folder))
        with store.open_staging() as staging:
            staging.write(b"evidence" * 1000)
            digest, _ = staging.publish()
        before = store.verify(digest)
        path = store.path_of(digest)
        path.chmod(0o600)
        content = bytearray(path.read_bytes())
        content[17] ^= 1
        path.write_bytes(content)
        text = T("Alter one bit of a stored file", "篡改已存储文件的一个比特")
        yield Attempt(text, before and not store.verify(digest), f"before {before}, after {store.verify(digest)}")
    damaged = count_damaged()
    text = T("Find files that the scrub found damaged", "查找巡检发现的损坏文件")
    yield Attempt(text, damaged == 0, f"{damaged} damaged")


def count_damaged() -> int:
    from apps.platform.artifacts.queries import list_damaged_digests

    return len(list_damaged_digests())


# -- confidentiality --------------------------------------------------------------------------------------------------
@TABLE.register("service-links", Mode.READING)
def probe_service_links(context: ProbeContext) -> Iterator[Attempt]:
    remote = False
    database = settings.DATABASES["default"]
    host = str(database.get("HOST") or "")
    if connection.vendor == "postgresql" and host and not host.startswith(("/", "127.", "localhost", "::1")):
        remote = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            row = cursor.fetchone()
        yield Attempt(T("The link to the database is encrypted", "数据库连接已加密"), bool(row and row[0]), host)
    broker = settings.ENV.broker_url
    if broker.startswith("redis://") and not any(each in broker for each in ("127.0.0.1", "localhost", "[::1]")):
        remote = True
        yield Attempt(T("The link to the broker is encrypted", "消息服务连接已加密"), False, "redis://")
    elif broker.startswith("rediss://"):
        remote = True
        yield Attempt(T("The link to the broker is encrypted", "消息服务连接已加密"), True, "rediss://")
    if not remote:
        raise NotApplicable(T("Database and broker are on this machine", "数据库与消息服务均在本机"))


@TABLE.register("stored-secrets")
def probe_stored_secrets(context: ProbeContext) -> Iterator[Attempt]:
    project = context.create_project()
    person = context.create_member(project, ProjectRole.ENGINEER, password=STRONG)
    stored = read_column(User, "password", person.pk)
    strong = identify_hasher(stored).algorithm in STRONG_HASHES
    yield Attempt(
        T("Read a password from the database", "从数据库读取口令"), STRONG not in stored and strong, stored[:12]
    )
    token, secret = create_token(actor=context.get_actor(person), project=project, name="p", scopes=["read"])
    row = "|".join(str(read_column(ApiToken, name, token.pk)) for name in ("digest", "prefix", "name"))
    yield Attempt(T("Read a token from the database", "从数据库读取令牌"), secret not in row and secret[12:] not in row)
    readable = sum(1 for text in Webhook.objects.values_list("secret", flat=True)[:1000] if text.startswith("whsec_"))
    yield Attempt(T("Find secrets of webhooks that are stored in plain", "查找明文存储的Webhook密钥"), readable == 0)
    home = Path(settings.PLANE_HOME)
    exposed = [path.name for path in (get_private_key_path(), home / "secret.key") if is_exposed(path)]
    text = T("Read the keys of the plane as another account of the machine", "以本机其他账户读取平台密钥")
    yield Attempt(text, not exposed, ", ".join(exposed) or "mode 0600")


def read_column(model: type[User | ApiToken], name: str, pk: int) -> str:
    """The column as it is stored."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {name} FROM {model._meta.db_table} WHERE id = %s", [pk])  # noqa: S608 - constants
        return str(cursor.fetchone()[0])


def is_exposed(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & 0o077)


@TABLE.register("encrypted-store", Mode.READING)
def probe_encrypted_store(context: ProbeContext) -> Iterator[Attempt]:
    text = T("Read a stored artifact from the disk without a key", "不用密钥从磁盘读取制品")
    env, marker = settings.ENV, b"evidence-" + secrets.token_hex(16).encode()
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        inner_store: Store = LocalStore(Path(folder))
        store = (
            build_encrypted_store(inner_store, tuple(env.encryption_keys), env.store_encryption)
            if env.encryption_keys
            else inner_store
        )
        with store.open_staging() as staging:
            staging.write(marker * 100)
            digest, _ = staging.publish()
        readable = sum(1 for path in Path(folder).rglob("*") if path.is_file() and marker in path.read_bytes())
        reading = store.open(digest)
        intact = b"".join(reading) == marker * 100
        reading.close()
    yield Attempt(text, intact and not readable, f"STORE_ENCRYPTION={env.store_encryption}")
    if env.store_encryption != "off":
        root = get_store_folder()
        left = count_objects(root) if root is not None else 0
        yield Attempt(
            T("Find artifacts from before the encryption", "查找加密前遗留的明文制品"), left == 0, f"{left} objects"
        )


def count_objects(root: Path) -> int:
    """Plain objects in the folder of the store; it stops at the first thousand."""
    return sum(1 for _ in islice((path for path in (root / "sha256").glob("*/*") if path.is_file()), 1000))


# -- backup -----------------------------------------------------------------------------------------------------------
@TABLE.register("backup", Mode.READING)
def probe_backup(context: ProbeContext) -> Iterator[Attempt]:
    newest = get_recovery_status(context.operator).newest
    since = timezone.now() - timedelta(days=MAX_BACKUP_DAYS)
    fresh = newest is not None and newest.made_at is not None and newest.made_at >= since
    text = T(f"A snapshot of the plane is younger than {MAX_BACKUP_DAYS} days", f"平台快照不超过{MAX_BACKUP_DAYS}天")
    yield Attempt(text, fresh, f"{newest.made_at:%Y-%m-%d %H:%M}" if newest and newest.made_at else "no snapshot")
    damaged = bool(newest and newest.damaged)
    text = T("The newest snapshot is not damaged", "最新快照无损坏")
    yield Attempt(text, newest is not None and not damaged, "damaged" if damaged else "")


@TABLE.register("restore-drill", Mode.READING)
def probe_restore_drill(context: ProbeContext) -> Iterator[Attempt]:
    status = get_recovery_status(context.operator)
    since = timezone.now() - timedelta(days=MAX_DRILL_DAYS)
    passed = status.drilled_at is not None and status.drilled_at >= since
    text = T(f"A restore drill passed within {MAX_DRILL_DAYS} days", f"{MAX_DRILL_DAYS}天内恢复演练通过")
    yield Attempt(text, passed, f"{status.drilled_at:%Y-%m-%d}" if status.drilled_at else "no drill has passed")
    failed = status.last_drill is not None and status.last_drill.state == OperationState.FAILED
    text = T("The last restore drill did not fail", "最近一次恢复演练未失败")
    yield Attempt(text, status.last_drill is not None and not failed)


# -- what is left behind ----------------------------------------------------------------------------------------------
@TABLE.register("ended-sessions")
def probe_ended_sessions(context: ProbeContext) -> Iterator[Attempt]:
    home = reverse("home")
    person = context.create_person(password=STRONG)
    first, second = context.open_browser(person), context.open_browser(person)
    opened = first.get(home).status_code
    cookie = first.cookies[settings.SESSION_COOKIE_NAME].value
    first.post(reverse("account_logout"))
    again = context.open_browser()
    again.cookies[settings.SESSION_COOKIE_NAME] = cookie
    text = T("Use the cookie of a session that was logged out", "退出后重用会话Cookie")
    yield Attempt(text, opened in (200, 302) and is_login_redirect(again.get(home)))
    form = {"oldpassword": STRONG, "password1": f"{STRONG}8Zu", "password2": f"{STRONG}8Zu"}
    context.open_browser(person).post(reverse("account_change_password"), form)
    text = T("Go on in another session after the password has changed", "修改口令后继续使用其他会话")
    yield Attempt(text, is_login_redirect(second.get(home)))
    cached = context.open_browser(context.create_person()).get(home).headers.get("Cache-Control", "")
    yield Attempt(
        T("Find a page in the browser's cache after the log-out", "退出后从浏览器缓存读取页面"),
        "no-store" in cached,
        cached,
    )


@TABLE.register("cleared-scratch", Mode.READING)
def probe_cleared_scratch(context: ProbeContext) -> Iterator[Attempt]:
    root = Path(settings.PLANE_HOME) / "scratch"
    running = Job.objects.filter(state=JobState.RUNNING).exists()
    old = timezone.now().timestamp() - MAX_SCRATCH_SECONDS
    left = []
    for folder in sorted(root.glob("*/*")) if root.is_dir() else []:
        try:
            if folder.is_dir() and folder.stat().st_mtime < old and any(os.scandir(folder)) and not running:
                left.append(folder.name)
        except OSError:
            continue  # a job that ends just now removes its own
    text = T("Find files of ended jobs in the scratch of this machine", "查找已结束任务在本机残留的临时文件")
    yield Attempt(text, not left, ", ".join(left[:5]) or "none")


# -- personal data ----------------------------------------------------------------------------------------------------
@TABLE.register("personal-data", Mode.READING)
def probe_personal_data(context: ProbeContext) -> Iterator[Attempt]:
    extra = list_unlisted_fields()
    text = T("Find personal data that the inventory does not name", "查找清单之外的个人信息字段")
    yield Attempt(text, not extra, ", ".join(extra[:10]) or f"{len(PLANE_TABLES)} tables are named")
    overdue = count_overdue()
    text = T("Find marked columns past their retention", "查找超过保存期限的个人信息列")
    yield Attempt(text, overdue == 0, f"{overdue} overdue, {PersonalColumn.objects.count()} marked")


@TABLE.register("personal-data-access")
def probe_personal_data_access(context: ProbeContext) -> Iterator[Attempt]:
    project = context.create_project()
    engineer = context.open_browser(context.create_member(project, ProjectRole.ENGINEER))
    colleague = context.create_person()
    yield expect(T("List people as an engineer", "工程师查看人员列表"), engineer.get("/people"), 403, 404)
    yield expect(
        T("Open a person's page as an engineer", "工程师查看他人资料"), engineer.get(f"/people/{colleague}"), 403, 404
    )
    yield expect(T("Export people as an engineer", "工程师导出人员名单"), engineer.get("/people?format=csv"), 403, 404)
    administrator = context.open_browser(context.create_person(SystemRole.SYSTEM_ADMIN))
    text = T("List people as the system administrator, who needs it", "系统管理员查看人员列表（应被允许）")
    yield expect(text, administrator.get("/people"), 200)
