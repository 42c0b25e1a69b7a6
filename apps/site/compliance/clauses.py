"""The clauses of GB/T 22239-2019 (MLPS 2.0), level 3, sections 8.1.4 and 8.1.5, that concern an application.

The summaries are our own words, not the text of the standard. Each of the 46 lettered clauses has an id of its own;
8.1.4.5 and 8.1.4.6 have no letters.
"""

from __future__ import annotations

from dataclasses import dataclass

from apps.site.compliance.texts import Bilingual as T


@dataclass(frozen=True, slots=True)
class Clause:
    """`probes`: names in probes.registry.PROBES. `document`: what a person has to attach, where a program cannot see
    it; a clause with both takes both."""

    id: str
    summary: T
    probes: tuple[str, ...] = ()
    document: T | None = None

    @property
    def control(self) -> str:
        """The number of its control: 8.1.4.1 of 8.1.4.1.a."""
        return ".".join(self.id.split(".")[:4])


CONTROLS: dict[str, T] = {
    "8.1.4.1": T("Identification and authentication", "身份鉴别"),
    "8.1.4.2": T("Access control", "访问控制"),
    "8.1.4.3": T("Security audit", "安全审计"),
    "8.1.4.4": T("Intrusion prevention", "入侵防范"),
    "8.1.4.5": T("Protection from malicious code", "恶意代码防范"),
    "8.1.4.6": T("Trusted verification", "可信验证"),
    "8.1.4.7": T("Data integrity", "数据完整性"),
    "8.1.4.8": T("Data confidentiality", "数据保密性"),
    "8.1.4.9": T("Backup and recovery", "数据备份恢复"),
    "8.1.4.10": T("Protection of residual information", "剩余信息保护"),
    "8.1.4.11": T("Protection of personal information", "个人信息保护"),
    "8.1.5.1": T("System administration", "系统管理"),
    "8.1.5.2": T("Audit administration", "审计管理"),
    "8.1.5.3": T("Security administration", "安全管理"),
    "8.1.5.4": T("Central management", "集中管控"),
}

CLAUSES: tuple[Clause, ...] = (
    Clause(
        "8.1.4.1.a",
        T(
            "Every person is identified uniquely; passwords are complex and changed regularly.",
            "对登录用户进行唯一标识和鉴别，口令满足复杂度要求并定期更换。",
        ),
        ("unique-identity", "password-policy", "password-age"),
    ),
    Clause(
        "8.1.4.1.b",
        T(
            "Guessing locks the account; unused sessions end.",
            "登录失败达到次数后锁定，会话空闲超时后自动退出。",
        ),
        ("lock-out", "idle-session"),
    ),
    Clause(
        "8.1.4.1.c",
        T("Credentials do not cross the network in plain.", "远程管理时鉴别信息在传输中不被窃听。"),
        ("transport",),
    ),
    Clause(
        "8.1.4.1.d",
        T(
            "Two factors, one of them cryptographic, authenticate people with power.",
            "采用两种或以上组合的鉴别技术，其中至少一种使用密码技术。",
        ),
        ("second-factor", "fresh-factor"),
    ),
    Clause(
        "8.1.4.2.a",
        T(
            "Every person has an account with rights; nobody else gets in.",
            "为登录用户分配账户和权限，匿名访问一律拒绝。",
        ),
        ("anonymous-access",),
    ),
    Clause(
        "8.1.4.2.b",
        T("There are no default accounts or passwords.", "重命名或删除默认账户，修改默认口令。"),
        ("default-accounts",),
    ),
    Clause(
        "8.1.4.2.c",
        T(
            "Accounts that are disabled or expired are worthless; none is shared.",
            "及时停用过期、多余账户，避免共享账户。",
        ),
        ("disabled-accounts", "expired-accounts"),
    ),
    Clause(
        "8.1.4.2.d",
        T("Least privilege; administrators' rights are separated.", "授予最小权限，实现管理用户的权限分离。"),
        ("separated-roles", "one-role-each", "emergency-access"),
    ),
    Clause(
        "8.1.4.2.e",
        T("Only an authorised role sets the policy of access.", "由授权主体配置访问控制策略，越权配置被拒绝。"),
        ("escalation",),
    ),
    Clause(
        "8.1.4.2.f",
        T(
            "Access is controlled by user and process, down to table and record.",
            "访问控制粒度达到主体为用户级或进程级，客体为文件、数据库表或记录级。",
        ),
        ("project-isolation", "process-isolation"),
    ),
    Clause(
        "8.1.4.2.g",
        T("Subjects and data carry security labels, which are enforced.", "对主体和客体设置安全标记，并据此控制访问。"),
        ("security-labels",),
    ),
    Clause(
        "8.1.4.3.a",
        T(
            "Audit covers every user, all important actions and security events.",
            "审计覆盖每个用户，对重要行为和安全事件进行审计。",
        ),
        ("audited-events",),
    ),
    Clause(
        "8.1.4.3.b",
        T(
            "A record holds time, user, type, success and detail.",
            "审计记录包括时间、用户、事件类型、是否成功及相关信息。",
        ),
        ("record-content",),
    ),
    Clause(
        "8.1.4.3.c",
        T(
            "Audit records are protected from deletion and overwriting, and backed up.",
            "保护审计记录并定期备份，避免被删除、修改或覆盖。",
        ),
        ("trail-protection", "trail-backup"),
    ),
    Clause(
        "8.1.4.3.d",
        T("Nobody can interrupt auditing without authority.", "保护审计进程，防止未经授权的中断。"),
        ("audit-interruption",),
    ),
    Clause(
        "8.1.4.4.a",
        T("Only needed components are installed.", "遵循最小安装原则，仅安装需要的组件。"),
        ("minimal-components",),
    ),
    Clause(
        "8.1.4.4.b", T("Needless services and ports are closed.", "关闭不需要的系统服务和高危端口。"), ("closed-ports",)
    ),
    Clause(
        "8.1.4.4.c",
        T("Administration is limited to listed addresses.", "限制管理终端的接入地址范围。"),
        ("administrator-addresses",),
    ),
    Clause(
        "8.1.4.4.d",
        T("Input is validated in pages and interfaces.", "对人机接口和通信接口输入的内容进行有效性检验。"),
        ("input-validation", "foreign-pages"),
    ),
    Clause(
        "8.1.4.4.e",
        T("Known vulnerabilities are found, and patched after a test.", "及时发现已知漏洞，经测试评估后修补。"),
        ("known-vulnerabilities",),
    ),
    Clause(
        "8.1.4.4.f",
        T("Intrusion attempts are detected, and an alarm is raised.", "检测入侵行为，严重时报警。"),
        ("intrusion-detection",),
    ),
    Clause(
        "8.1.4.5",
        T("Malicious code is recognised and blocked.", "及时识别并有效阻断恶意代码。"),
        ("unsafe-models", "malware-scan", "upload-scan"),
    ),
    Clause(
        "8.1.4.6",
        T(
            "Programs and parameters are verified against a root of trust.",
            "基于可信根对程序和重要参数进行可信验证并报警。",
        ),
        ("signed-releases",),
        T("Secure boot of the servers (records of the platform)", "服务器安全启动记录"),
    ),
    Clause(
        "8.1.4.7.a",
        T("Tampering in transit is detected.", "采用校验或密码技术保证传输过程中的完整性。"),
        ("upload-digests", "transport"),
    ),
    Clause(
        "8.1.4.7.b",
        T("Tampering in storage is detected.", "采用校验或密码技术保证存储过程中的完整性。"),
        ("stored-bytes", "trail-integrity"),
    ),
    Clause(
        "8.1.4.8.a",
        T("Sensitive data is encrypted in transit.", "采用密码技术保证传输过程中的保密性。"),
        ("transport", "service-links"),
    ),
    Clause(
        "8.1.4.8.b",
        T("Sensitive data is encrypted in storage.", "采用密码技术保证存储过程中的保密性。"),
        ("stored-secrets", "encrypted-store"),
    ),
    Clause(
        "8.1.4.9.a",
        T("Data is backed up, and a restore was tried.", "提供本地数据备份与恢复功能，并验证恢复。"),
        ("backup", "restore-drill"),
    ),
    Clause(
        "8.1.4.9.b",
        T("A copy is kept at another place in real time.", "提供异地实时备份功能。"),
        (),
        T("Replication to another site (design and a record of a test)", "异地实时备份方案与测试记录"),
    ),
    Clause(
        "8.1.4.9.c",
        T("Important systems are redundant.", "重要数据处理系统采用热冗余。"),
        (),
        T(
            "Hot redundancy of servers and database (design and a record of a switch)",
            "服务器与数据库热冗余方案与切换记录",
        ),
    ),
    Clause(
        "8.1.4.10.a",
        T("Credentials are cleared before storage is used again.", "鉴别信息所在的存储空间在释放前完全清除。"),
        ("ended-sessions",),
    ),
    Clause(
        "8.1.4.10.b",
        T("Sensitive data is cleared before storage is used again.", "敏感数据所在的存储空间在释放前完全清除。"),
        ("cleared-scratch",),
    ),
    Clause(
        "8.1.4.11.a",
        T("Only necessary personal data is collected.", "仅采集和保存业务必需的个人信息。"),
        ("personal-data",),
    ),
    Clause(
        "8.1.4.11.b",
        T("Unauthorised use of personal data is refused.", "禁止未授权访问和非法使用个人信息。"),
        ("personal-data-access",),
    ),
    Clause(
        "8.1.5.1.a",
        T(
            "The system administrator is authenticated, works by own pages, and is audited.",
            "对系统管理员进行身份鉴别，通过特定界面操作并审计。",
        ),
        ("system-administrator",),
    ),
    Clause(
        "8.1.5.1.b",
        T(
            "Only the system administrator manages identities, resources, start and backup.",
            "仅由系统管理员管理身份、资源、启动与备份恢复。",
        ),
        ("system-duties",),
    ),
    Clause(
        "8.1.5.2.a",
        T(
            "The auditor is authenticated, works by own pages, and is audited.",
            "对审计管理员进行身份鉴别，通过特定界面操作并审计。",
        ),
        ("audit-administrator",),
    ),
    Clause(
        "8.1.5.2.b",
        T("Only the auditor analyses, stores and queries audit records.", "仅由审计管理员分析、存储、查询审计记录。"),
        ("audit-duties",),
    ),
    Clause(
        "8.1.5.3.a",
        T(
            "The security administrator is authenticated, works by own pages, and is audited.",
            "对安全管理员进行身份鉴别，通过特定界面操作并审计。",
        ),
        ("security-administrator",),
    ),
    Clause(
        "8.1.5.3.b",
        T(
            "Only the security administrator sets parameters, labels and authorisation.",
            "仅由安全管理员设置安全参数、标记、授权与策略。",
        ),
        ("security-duties",),
    ),
    Clause(
        "8.1.5.4.a",
        T(
            "Security devices and components are managed in a zone of their own.",
            "划分特定管理区域管控安全设备和组件。",
        ),
        ("node-isolation",),
        T("Plan of the network with its management zone", "含管理区域的网络拓扑"),
    ),
    Clause(
        "8.1.5.4.b",
        T("A secure path leads to what is managed.", "建立安全的信息传输路径进行管理。"),
        ("transport", "node-tokens"),
    ),
    Clause(
        "8.1.5.4.c",
        T("Links, devices and servers are monitored centrally.", "对链路、设备和服务器运行状况集中监测。"),
        ("central-monitoring",),
    ),
    Clause(
        "8.1.5.4.d",
        T(
            "Audit data is collected and kept for as long as the law asks.",
            "集中收集分析审计数据，留存时间符合法律法规要求。",
        ),
        ("audit-retention", "trail-protection", "log-retention"),
    ),
    Clause(
        "8.1.5.4.e",
        T("Policy, malicious code and patches are managed centrally.", "对安全策略、恶意代码、补丁升级集中管理。"),
        ("central-policy", "known-vulnerabilities"),
    ),
    Clause(
        "8.1.5.4.f",
        T("Security events are recognised, alarmed and analysed.", "对各类安全事件进行识别、报警和分析。"),
        ("intrusion-detection", "audited-events"),
    ),
)

CLAUSE_IDS = tuple(clause.id for clause in CLAUSES)
BY_ID = {clause.id: clause for clause in CLAUSES}
MAX_CLAUSE_LENGTH = max(map(len, CLAUSE_IDS))
