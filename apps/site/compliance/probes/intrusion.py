"""8.1.4.4 to 8.1.4.6: components, ports, addresses, input, vulnerabilities, intrusion, malicious code, trusted code."""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from apps.core.actors import Actor, PlaneRole, ProjectRole, SystemRole, build_plane_actor
from apps.core.canonical import sha256_hex
from apps.core.errors import PlaneError
from apps.platform.accounts.models import Project
from apps.platform.artifacts.scanning import UploadScan
from apps.platform.artifacts.services import publish_upload
from apps.platform.audit.models import AuditRecord
from apps.site.compliance.probes.context import ADDRESS, STRONG, ProbeContext, expect, refuse
from apps.site.compliance.probes.outcomes import Attempt, Mode, ProbeTable, roll_back
from apps.site.compliance.supply.components import list_installed_components, list_unneeded_components
from apps.site.compliance.supply.vulnerabilities import find_vulnerabilities
from apps.site.compliance.texts import Bilingual as T
from apps.site.mirror.models import AdvisoryFeed
from apps.site.security_alarms.rules import Event
from apps.site.security_alarms.services import count_events, get_rule_settings
from apps.site.transfer.scanning import scan_folder
from deepseek.job import EngineError
from deepseek.models.assets import refuse_pickle
from deepseek.signing.dsse import Envelope, sign, verify
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import compute_key_id, generate_key
from deepseek.signing.statements import RELEASE_TYPE

TABLE = ProbeTable()
NEEDLESS_PORTS = (21, 23, 25, 69, 79, 110, 111, 135, 137, 139, 445, 512, 513, 514, 1433, 2049, 3389, 5900, 6000, 11211)
MAX_FEED_DAYS = 30
FAILED_LOG_INS = "failed_log_ins"  # the key of its rule
MAX_GUESSES = 100
OUTSIDE = "203.0.113.77"  # of the network for documents (RFC 5737)
PICKLE = b"\x80\x04\x95\x0a\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s."  # of {"a": 1}
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@TABLE.register("minimal-components", Mode.READING)
def probe_minimal_components(context: ProbeContext) -> Iterator[Attempt]:
    installed = list_installed_components()
    text = T("Every installed package is named with its version", "列出全部已安装组件及版本")
    yield Attempt(text, bool(installed) and all(each.version for each in installed), f"{len(installed)} packages")
    unneeded = list_unneeded_components()
    text = T("Find installed packages that the plane does not need", "查找平台不需要的已安装组件")
    yield Attempt(text, not unneeded, f"{len(unneeded)}: {', '.join(unneeded[:8])}" if unneeded else "none")


@TABLE.register("closed-ports", Mode.READING)
def probe_closed_ports(context: ProbeContext) -> Iterator[Attempt]:
    opened = [port for port in NEEDLESS_PORTS if is_open(port)]
    text = T("Connect to ports of services that nobody needs here", "连接不需要的服务端口")
    yield Attempt(text, not opened, f"{len(NEEDLESS_PORTS)} tried; open: {', '.join(map(str, opened)) or 'none'}")


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


@TABLE.register("administrator-addresses")
def probe_administrator_addresses(context: ProbeContext) -> Iterator[Attempt]:
    for role in SystemRole:
        client = context.open_browser(context.create_person(role), address=OUTSIDE)
        text = T(f"Work as {role.value} from a foreign address", f"从未授权地址以 {role.value} 身份操作")
        yield expect(text, client.get(reverse("home")), 403)


@TABLE.register("input-validation")
def probe_input_validation(context: ProbeContext) -> Iterator[Attempt]:
    project = context.create_project()
    client = context.open_browser(context.create_member(project, ProjectRole.ENGINEER))
    base = f"/api/v1/projects/{project.slug}"
    json_type = "application/json"
    bodies = (
        ("{", T("Send text that is not JSON", "提交非JSON内容")),
        ("[" * 2000, T("Send JSON that is nested too deep", "提交嵌套过深的JSON")),
        ('{"kind": 7, "spec": []}', T("Send values of a wrong type", "提交错误类型的值")),
        ('{"kind": "noop\\u0000", "spec": {}}', T("Send a NUL character", "提交NUL字符")),
        ('{"kind": "noop", "spec": {"secret_field": 1}}', T("Send a field that does not exist", "提交不存在的字段")),
        ('{"kind": "../../etc/passwd", "spec": {}}', T("Send a path where a name belongs", "以路径代替名称")),
    )
    for body, text in bodies:
        yield expect(text, client.post(f"{base}/jobs", body, content_type=json_type), 400, 413, 422)
    for query, text in (
        ("?state=%27%3BDROP%20TABLE%20x--", T("Send SQL as a filter", "以SQL语句作为筛选参数")),
        ("?cursor=%00", T("Send a broken cursor", "提交损坏的游标")),
    ):
        yield expect(text, client.get(f"{base}/jobs{query}"), 400, 422)
    response = client.get(reverse("search"), {"q": "<script>alert(1)</script>"})
    text = T("Have a page repeat a script", "使页面回显脚本")
    yield Attempt(text, b"<script>alert(1)" not in response.content and response.status_code < 500)
    response = client.get("/", HTTP_HOST="evil.example")
    yield expect(T("Ask under a foreign host name", "使用伪造的主机名"), response, 400)


@TABLE.register("foreign-pages")
def probe_foreign_pages(context: ProbeContext) -> Iterator[Attempt]:
    person = context.create_person(password=STRONG)
    client = context.open_browser(person, csrf=True)
    form = {"oldpassword": STRONG, "password1": f"{STRONG}9", "password2": f"{STRONG}9"}
    response = client.post(reverse("account_change_password"), form)
    yield expect(T("Post a form without the token of its page", "不带CSRF令牌提交表单"), response, 403)
    response = client.get(reverse("home"))
    policy = response.headers.get("Content-Security-Policy", "")
    strict = "default-src 'self'" in policy and "unsafe-inline" not in policy and "unsafe-eval" not in policy
    yield Attempt(T("Pages run only scripts of their own (CSP)", "内容安全策略仅允许自身脚本"), strict, policy)
    frames = response.headers.get("X-Frame-Options", "")
    yield Attempt(T("Show a page in a foreign frame", "在外部框架中嵌入页面"), frames == "DENY", frames or "absent")
    sniff = response.headers.get("X-Content-Type-Options", "")
    yield Attempt(
        T("Have a file read as another type", "诱导浏览器误判文件类型"), sniff == "nosniff", sniff or "absent"
    )


@TABLE.register("known-vulnerabilities", Mode.READING)
def probe_known_vulnerabilities(context: ProbeContext) -> Iterator[Attempt]:
    feed = AdvisoryFeed.objects.first()
    dated = feed.dated_at if feed else None
    fresh = dated is not None and dated > timezone.now() - timedelta(days=MAX_FEED_DAYS)
    text = T(f"The feed of advisories is younger than {MAX_FEED_DAYS} days", f"漏洞库更新不超过{MAX_FEED_DAYS}天")
    yield Attempt(text, fresh, f"dated {dated:%Y-%m-%d}" if dated else "no feed was imported")
    if feed is None:
        yield Attempt(T("Look installed packages up in the feed", "在漏洞库中核对已安装组件"), False, "no feed")
        return
    rows = find_vulnerabilities(list_installed_components())
    listing = ", ".join(f"{row.component} {row.version} {row.advisory_id}" for row in rows[:5])
    text = T("Find installed packages with known vulnerabilities", "查找存在已知漏洞的已安装组件")
    yield Attempt(text, not rows, listing or "none")


@TABLE.register("intrusion-detection", Mode.STAGES)
def probe_intrusion_detection(context: ProbeContext) -> Iterator[Attempt]:
    for attempt in (try_lock_record, try_alarm):
        with roll_back():
            yield attempt(context)


def try_lock_record(context: ProbeContext) -> Attempt:
    """Guess from one address until it is locked."""
    person = context.create_person(password=STRONG)
    client = context.open_browser()
    last = get_last_record_id()
    for number in range(settings.AXES_FAILURE_LIMIT + 1):
        client.post(reverse("account_login"), {"login": person.username, "password": f"wrong-{number}"})
    actions = set(AuditRecord.objects.filter(id__gt=last).values_list("action", flat=True))
    text = T("Guess passwords without being recorded as an attack", "口令猜测未被识别为攻击")
    return Attempt(text, any("lock" in action for action in actions), ", ".join(sorted(actions)) or "no record")


def try_alarm(context: ProbeContext) -> Attempt:
    """Guess until the rule over the trail raises its alarm."""
    setting = get_rule_settings()[FAILED_LOG_INS]
    victim = context.create_person(password=STRONG)
    last = get_last_record_id()
    for number in range(min(setting.threshold, MAX_GUESSES)):  # each from elsewhere: the lock-out stops the others
        guesser = context.open_browser(address=f"198.51.100.{number + 1}")
        guesser.post(reverse("account_login"), {"login": victim.username, "password": f"wrong-{number}"})
    rows = AuditRecord.objects.filter(id__gt=last).order_by("id").values_list(*Event._fields)
    events = [Event(*row)._replace(seq=number) for number, row in enumerate(rows, 1)]
    raised = count_events(build_plane_actor(PlaneRole.DISPATCHER, host="compliance"), {}, events) if events else 0
    text = T("Guess passwords without an alarm", "口令猜测未触发报警")
    detail = f"{raised} alarms after {len(events)} records; threshold {setting.threshold}, enabled {setting.is_enabled}"
    return Attempt(text, raised > 0, detail)


def get_last_record_id() -> int:
    return int(AuditRecord.objects.order_by("-id").values_list("id", flat=True).first() or 0)


@TABLE.register("unsafe-models", Mode.READING)
def probe_unsafe_models(context: ProbeContext) -> Iterator[Attempt]:
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        for name, content in (("model.pkl", PICKLE), ("model.pt", b"PK\x03\x04" + b"\0" * 60)):
            path = Path(folder, name)
            path.write_bytes(content)
            text = T(f"Open a pickle as a model ({name})", f"将pickle文件作为模型打开（{name}）")
            yield refuse(text, lambda path=path: refuse_pickle(path), EngineError)  # type: ignore[misc]


@TABLE.register("malware-scan", Mode.READING)
def probe_malware_scan(context: ProbeContext) -> Iterator[Attempt]:
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        Path(folder, "eicar.com").write_bytes(EICAR)
        text = T("Bring the test file of virus scanners (EICAR)", "引入防病毒测试文件（EICAR）")
        try:
            report = scan_folder(Path(folder))
        except PlaneError as refusal:
            yield Attempt(text, refusal.code == "malware_found", str(refusal.message))
        else:
            yield Attempt(text, False, str(report["verdict"]))
    text = T("Upload the test file of virus scanners (EICAR)", "上传防病毒测试文件（EICAR）")
    yield Attempt(text, *try_upload_scan())
    required = settings.ENV.malware_scan == "required"
    text = T("Without an answer of the scanner nothing is taken in", "扫描器无应答时不接收数据")
    yield Attempt(text, required, f"MALWARE_SCAN={settings.ENV.malware_scan}")


def try_upload_scan() -> tuple[bool, str]:
    """(whether the scanner of uploads finds the test file, its answer)."""
    try:
        with UploadScan() as scan:
            scan.write(EICAR)
            scan.require_clean()
    except PlaneError as refusal:
        return refusal.code == "malware_in_upload", str(refusal.message)
    return False, "clean" if settings.ENV.upload_scan_command else "not scanned: UPLOAD_SCAN_COMMAND is not set"


@TABLE.register("upload-scan", Mode.READING)
def probe_upload_scan(context: ProbeContext) -> Iterator[Attempt]:
    """The digest that is announced is another one, so that the file stays out whatever the scanner says.

    Neither project nor person is stored: SQLite's write lock must not wait for a scanner.
    """
    project = Project(pk=0, slug="probe", name="Probe")
    actor = Actor(kind="user", label="probe", project_roles={0: frozenset({ProjectRole.ENGINEER})}, address=ADDRESS)
    announced = sha256_hex(secrets.token_bytes(16))
    text = T("Upload the test file of virus scanners (EICAR)", "上传防病毒测试文件（EICAR）")
    try:
        publish_upload(actor=actor, project=project, stream=[EICAR], expected_digest=announced, name="eicar.com")
    except PlaneError as refusal:
        yield Attempt(text, refusal.code == "malware_in_upload", f"{refusal.code}: {refusal.message}")
    else:
        yield Attempt(text, False, "taken")
    text = T("A clean upload passes the scanner", "正常文件通过扫描（应被接受）")
    try:
        with UploadScan() as scan:
            scan.write(b"evidence")
            scan.require_clean()
    except PlaneError as refusal:
        yield Attempt(text, False, str(refusal.message))
    else:
        yield Attempt(
            text, scan.child is not None, settings.ENV.upload_scan_command or "UPLOAD_SCAN_COMMAND is not set"
        )


@TABLE.register("signed-releases", Mode.READING)
def probe_signed_releases(context: ProbeContext) -> Iterator[Attempt]:
    trusted, stranger = generate_key(), generate_key()
    keys = {compute_key_id(trusted.public_key): trusted.public_key}
    good = sign(RELEASE_TYPE, b'{"model":"a"}', [trusted])
    altered = Envelope(good.payload_type, b'{"model":"b"}', good.signatures)
    foreign = sign(RELEASE_TYPE, b'{"model":"a"}', [stranger])
    retyped = Envelope("text/plain", good.payload, good.signatures)
    for text, envelope in (
        (T("Install a release that was altered", "安装被篡改的发布包"), altered),
        (T("Install a release of a foreign key", "安装由未知密钥签名的发布包"), foreign),
        (T("Pass another signed document off as a release", "以其他已签名文件冒充发布包"), retyped),
    ):
        yield refuse(
            text,
            lambda envelope=envelope: verify(envelope, keys, payload_type=RELEASE_TYPE),  # type: ignore[misc]
            SigningError,
        )
    read = verify(good, keys, payload_type=RELEASE_TYPE)
    yield Attempt(
        T("Install a release as it was signed, which is taken", "安装完好的发布包（应被接受）"), read == good.payload
    )
