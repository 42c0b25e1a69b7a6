"""Django's settings: one module, no variants; what differs between machines comes from the environment (env.py)."""

from __future__ import annotations

import os
import secrets
import sys
from datetime import timedelta
from typing import Any

import dj_database_url

from controlplane.env import SHIPPED_DIR, load_env
from controlplane.mail_server import parse_mail_url
from controlplane.secret_source import FROM_FILE

ENV = load_env()
PLANE_HOME = ENV.home


def get_home_folder(name: str) -> str:
    """A folder of the home, there when Django looks for it; exits with status 2 where it cannot be made."""
    path = PLANE_HOME / name
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as failure:
        sys.stderr.write(f"PLANE_HOME={PLANE_HOME} cannot be written: {failure.strerror}. Name another folder.\n")
        raise SystemExit(2) from None
    return str(path)


def load_secret_key() -> str:
    """SECRET_KEY, or one made on the first start and kept in the home with mode 0600."""
    if ENV.secret_key.get_secret_value():
        return ENV.secret_key.get_secret_value()
    path = PLANE_HOME / "secret.key"
    if not path.exists():
        fresh = PLANE_HOME / f"secret.key.{secrets.token_hex(4)}"
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(48))
        try:
            path.hardlink_to(fresh)  # two processes may start at once: the first link wins, both read the same key
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()


UPLOADS, STATIC = get_home_folder("uploads"), get_home_folder("static")
SECRET_KEY = load_secret_key()
SECRET_KEY_FALLBACKS = [former.get_secret_value() for former in ENV.secret_key_fallbacks]
DEBUG = ENV.debug
ALLOWED_HOSTS = ENV.allowed_hosts

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "axes",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "apps.platform.audit",
    "apps.platform.accounts",
    "apps.platform.preferences",
    "apps.platform.comments",
    "apps.platform.notices",
    "apps.platform.emergency",
    "apps.platform.recertification",
    "apps.platform.access_history",
    "apps.platform.artifacts",
    "apps.platform.holds",
    "apps.platform.approvals",
    "apps.platform.nodes",
    "apps.platform.jobs",
    "apps.platform.calendars",
    "apps.platform.lineage",
    "apps.data.datasets",
    "apps.data.repositories",
    "apps.data.personal_data",
    "apps.ml.pipelines",
    "apps.ml.experiments",
    "apps.ml.reruns",
    "apps.ml.observations",
    "apps.ml.sweeps",
    "apps.ml.registry",
    "apps.ml.endpoints",
    "apps.fleet.releases",
    "apps.fleet.devices",
    "apps.fleet.recalls",
    "apps.site.mirror",
    "apps.fleet.rollouts",
    "apps.fleet.monitoring",
    "apps.ml.labelling",
    "apps.ml.federation",
    "apps.site.isolation",
    "apps.site.snapshots",
    "apps.site.transfer",
    "apps.site.security_alarms",
    "apps.site.compliance",
    "apps.gateways.openlineage",
    "apps.gateways.mlflow",
    "apps.gateways.mlflow_import",
    "apps.gateways.hawkbit",
    "apps.web",
    "workers",
    "controlplane",
]

MIDDLEWARE = [
    "controlplane.request_metrics.CountRequests",
    "controlplane.host_filter.AllowedHost",
    "django.middleware.security.SecurityMiddleware",
    "controlplane.compression.Compress",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "apps.platform.accounts.middleware.RequestId",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.platform.accounts.middleware.SessionLimits",
    "apps.platform.accounts.middleware.RequestActor",
    "apps.platform.accounts.middleware.Preferences",
    "apps.web.zh_typography.ZhTypography",  # in the language that Preferences has chosen
    "apps.platform.audit.middleware.PlaneErrors",
    "apps.platform.accounts.middleware.LoginRequired",
    "apps.platform.accounts.factors.middleware.AdministratorNetworks",
    "apps.platform.accounts.middleware.MustChangePassword",
    "apps.platform.accounts.factors.middleware.SecondFactorRequired",
    "apps.platform.preferences.middleware.DefaultView",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "axes.middleware.AxesMiddleware",  # last, as its documentation asks
]

ROOT_URLCONF = "controlplane.urls"
WSGI_APPLICATION = "controlplane.wsgi.application"
TEMPLATE_LOADERS = ["django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [SHIPPED_DIR / "templates"],
        "OPTIONS": {
            "loaders": [("apps.web.fast_templates.Loader", TEMPLATE_LOADERS)],
            # The last wins: `translate` and `url` are the plane's own.
            "builtins": ["django.templatetags.i18n", "django.templatetags.static", "apps.web.templatetags.base_tags"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.web.context_processors.build_frame",
            ],
        },
    }
]

# -- database -------------------------------------------------------------------------------------------------------
DATABASES: dict[str, dict[str, Any]] = {
    "default": dict(dj_database_url.parse(ENV.database, conn_max_age=0))
    if ENV.database  # not as a URL: a # or a % in the home would put the file elsewhere
    else {"ENGINE": "django.db.backends.sqlite3", "NAME": PLANE_HOME / "plane.sqlite3"}
}
SQLITE_HEAP_BYTES = 64 << 20
IS_SQLITE = DATABASES["default"]["ENGINE"].endswith("sqlite3")
REQUEST_SECONDS = ENV.request_seconds
if IS_SQLITE:
    DATABASES["default"]["ENGINE"] = "controlplane.sqlite"
    # Of a thread: to open one and prepare its statements anew is a fifth of a request's processor time.
    DATABASES["default"]["CONN_MAX_AGE"] = 300
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        # Without IMMEDIATE two writers that both began by reading fail with "database is locked" at once.
        "transaction_mode": "IMMEDIATE",
        # The cache is each connection's, and a web process has up to 128; an ingest takes more
        # (datasets/ingest/local_files.py). The heap is the process's: beyond it a cache uses its own pages again.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000; "
        f"PRAGMA cache_size=-4000; PRAGMA soft_heap_limit={SQLITE_HEAP_BYTES}",
    }
    # Threads of a test need a file: in memory each would see its own, or lose writes.
    DATABASES["default"]["TEST"] = {"NAME": PLANE_HOME / "test.sqlite3"}
else:
    # What the address asks for, for instance sslmode, stays beside the pool.
    pool = {"min_size": 1, "max_size": ENV.database_pool_size, "timeout": 10}
    configured = DATABASES["default"].get("OPTIONS", {})
    # Short queries over long tables: to start workers, or to compile, costs more than any of them takes.
    plain_options = f"-c max_parallel_workers_per_gather=0 -c jit=off {configured.get('options', '')}".strip()
    options = {"pool": pool, "prepare_threshold": 5}  # for apps/core/db/fast_sql.py: Django itself prepares nothing
    DATABASES["default"]["OPTIONS"] = options | configured | {"options": plain_options}
    if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
        DATABASES["default"]["ENGINE"] = "controlplane.postgresql"
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True  # or a database restart gives every pooled connection one 500
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SECRET_FILES = [
    path
    for name in (*(f"{name.upper()}_FILE" for name in FROM_FILE), "AWS_SHARED_CREDENTIALS_FILE")
    if (path := os.environ.get(name))
] + [path for path in (ENV.cluster_certificate, ENV.cluster_certificate_key) if path]
"""Hidden from the engines (workers/isolation.py)."""

# -- lineage told outside -------------------------------------------------------------------------------------------
OPENLINEAGE_SINKS = [
    name for name, place in (("file", ENV.openlineage_file), ("http", ENV.openlineage_http_url)) if place
]

# -- notices told outside -------------------------------------------------------------------------------------------
NOTICE_HOSTS = ENV.notice_hosts
LABELLING_HOSTS = ENV.labelling_hosts
MAIL_ENABLED = bool(ENV.mail_url)
MAIL = parse_mail_url(ENV.mail_url)
EMAIL_HOST, EMAIL_PORT = MAIL.host, MAIL.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL.user, ENV.mail_password.get_secret_value()
EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL.scheme == "smtp+starttls", MAIL.scheme == "smtps"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = ENV.mail_from

# -- broker and cache -----------------------------------------------------------------------------------------------
EMBEDDED_BROKER = not ENV.broker
CELERY_BROKER_URL = ENV.broker or "planefs://"
CELERY_BROKER_FOLDER = PLANE_HOME / "broker"
if EMBEDDED_BROKER:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(CELERY_BROKER_FOLDER / "queue"),
        "data_folder_out": str(CELERY_BROKER_FOLDER / "queue"),
        "control_folder": str(CELERY_BROKER_FOLDER / "control"),
        "polling_interval": 0.05,
    }
else:
    # Publishing blocks while Redis is down: give up early, the dispatcher rings again.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": 120,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "retry_on_timeout": True,
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # by default a worker gives up after 100, and its jobs with it
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False  # True killed running jobs and stranded them
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "housekeeping"
CELERY_BEAT_SCHEDULE_FILENAME = str(PLANE_HOME / "beat" / "schedule")
CELERY_BEAT_SCHEDULE = {
    "scrub-artifacts": {"task": "workers.housekeeping.scrub", "schedule": timedelta(hours=1)},
    "verify-audit": {"task": "workers.housekeeping.verify_audit", "schedule": timedelta(hours=1)},
    "disable-idle-accounts": {"task": "workers.housekeeping.disable_idle_accounts", "schedule": timedelta(hours=1)},
    "expire-emergency-grants": {
        "task": "workers.housekeeping.expire_emergency_grants",
        "schedule": timedelta(minutes=1),
    },
    "suspend-overdue-grants": {
        "task": "workers.housekeeping.suspend_overdue_grants",
        "schedule": timedelta(hours=1),
    },
    "clear-sessions": {"task": "workers.housekeeping.clear_sessions", "schedule": timedelta(hours=6)},
    "sweep-staging": {"task": "workers.housekeeping.sweep_staging", "schedule": timedelta(hours=1)},
    "sweep-uploads": {"task": "workers.housekeeping.sweep_uploads", "schedule": timedelta(hours=1)},
    "seal-observations": {"task": "workers.housekeeping.seal_observations", "schedule": timedelta(minutes=5)},
    "watch-inputs": {"task": "workers.monitoring.drift.watch_inputs", "schedule": timedelta(minutes=5)},
    "purge-observations": {"task": "workers.housekeeping.purge_observations", "schedule": timedelta(hours=1)},
    "evaluate-alarm-rules": {
        "task": "workers.housekeeping.evaluate_alarm_rules",
        "schedule": timedelta(minutes=1),
    },
    "purge-notices": {"task": "workers.housekeeping.purge_notices", "schedule": timedelta(hours=1)},
    "sweep-bundles": {"task": "workers.housekeeping.sweep_bundles", "schedule": timedelta(hours=1)},
    "sweep-checkpoints": {"task": "workers.housekeeping.sweep_checkpoints", "schedule": timedelta(hours=1)},
}

# Rate limits, lock-out and replay protection live in the cache, so it is shared between processes.
if ENV.broker:
    CACHES: dict[str, dict[str, Any]] = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": ENV.broker}
    }
else:
    # Beyond its most entries a table forgets the first by name, and the rate limits of log-ins are the first: of the
    # 300 that Django has as its most, what is remembered of reports would be enough.
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "plane_cache",
            "OPTIONS": {"MAX_ENTRIES": 100_000},
        }
    }
# What people may ask for in any number, and at any size, has a cache of its own: it must not drive those out.
CACHES["samples"] = {
    "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
    "LOCATION": "samples",
    "OPTIONS": {"MAX_ENTRIES": 50},
}

# -- accounts -------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
    "apps.platform.accounts.directory.backend.LdapBackend",  # does nothing without LDAP_URLS
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "apps.platform.accounts.passwords.MinimumLength"},
    {"NAME": "apps.platform.accounts.passwords.CharacterClasses"},
    {"NAME": "apps.platform.accounts.passwords.NotTheName"},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("username", "name", "email")},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},  # the 20,000 that are tried first
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "apps.platform.accounts.passwords.NotTheSameAgain"},
]
PASSWORD_MIN_LENGTH = ENV.password_min_length
PASSWORD_MIN_LENGTH_ADMINISTRATORS = ENV.password_min_length_administrators
PASSWORD_CLASSES = ENV.password_classes
PASSWORD_HISTORY = ENV.password_history
PASSWORD_MAX_AGE_DAYS = ENV.password_max_age_days
INACTIVE_DAYS = ENV.inactive_days
ADMIN_ALLOW = ENV.admin_allow
OIDC_ISSUER, OIDC_CLIENT_ID = ENV.oidc_issuer, ENV.oidc_client_id
OIDC_SCOPES = ENV.oidc_scopes
OIDC_USERNAME_CLAIM, OIDC_GROUPS_CLAIM = ENV.oidc_username_claim, ENV.oidc_groups_claim
LDAP_URLS, LDAP_START_TLS, LDAP_CA_FILE = ENV.ldap_urls, ENV.ldap_start_tls, ENV.ldap_ca_file
LDAP_BIND_DN, LDAP_USER_BASE, LDAP_USER_FILTER = ENV.ldap_bind_dn, ENV.ldap_user_base, ENV.ldap_user_filter
LDAP_USERNAME_ATTRIBUTE, LDAP_SUBJECT_ATTRIBUTE = ENV.ldap_username_attribute, ENV.ldap_subject_attribute
LDAP_GROUP_BASE, LDAP_GROUP_FILTER = ENV.ldap_group_base, ENV.ldap_group_filter
DIRECTORY_ROLES, DIRECTORY_SIGN_UP = ENV.directory_roles, ENV.directory_sign_up
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "apps.platform.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False  # this session goes on under a new key; every other one ends
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
# `login` would count every request of an address, right passwords too; `login_failed` is for the codes of a second
# factor, after the right password. Passwords have limits of their own.
ACCOUNT_RATE_LIMITS = {"login": None, "login_failed": "20/5m/key"}
# Failed log-ins of one account, and at one address, by clients that the account has not logged in from: see
# apps/platform/accounts/lockout.py. Above axes' own limit, which is of one account at one address.
LOG_IN_LIMITS = "40/30m/key,60/5m/ip"
MFA_ADAPTER = "apps.platform.accounts.adapter.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_TOTP_TOLERANCE = 1  # steps of 30 s: the clocks of phones and planes without NTP differ
MFA_FORMS = {
    "authenticate": "apps.platform.accounts.factors.forms.CodeForm",
    "reauthenticate": "apps.platform.accounts.factors.forms.RepeatedCodeForm",
}
SECOND_FACTOR_ROLES = frozenset(ENV.second_factor_roles)
USERSESSIONS_TRACK_ACTIVITY = True  # by SessionLimits, once a minute: allauth's middleware writes on every request
AXES_FAILURE_LIMIT = ENV.lockout_failures
AXES_COOLOFF_TIME = timedelta(minutes=ENV.lockout_minutes)
AXES_LOCKOUT_PARAMETERS = "apps.platform.accounts.lockout.build_lockout_parameters"
AXES_USERNAME_CALLABLE = "apps.platform.accounts.lockout.get_lockout_username"
AXES_CLIENT_IP_CALLABLE = "apps.platform.accounts.lockout.get_counted_address"
AXES_LOCKOUT_TEMPLATE = "account/locked.html"
AXES_RESET_ON_SUCCESS = True
AXES_HTTP_RESPONSE_CODE = 429
SESSION_COOKIE_AGE = ENV.session_idle_minutes * 60
SESSION_SAVE_EVERY_REQUEST = (
    False  # SessionLimits renews at most once a minute: a write per page would be a lock per page
)
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_ABSOLUTE_AGE = ENV.session_hours * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "controlplane.errors.csrf_failure"

# -- transport and content policy -----------------------------------------------------------------------------------
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENV.behind_tls
SECURE_HSTS_SECONDS = 31_536_000 if ENV.behind_tls else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = ENV.behind_tls and ENV.hsts_subdomains
SECURE_SSL_REDIRECT = ENV.behind_tls
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENV.behind_tls else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    }
}
PERMISSIONS_POLICY: dict[str, list[str]] = {"camera": [], "geolocation": [], "microphone": [], "payment": [], "usb": []}
DATA_UPLOAD_MAX_MEMORY_SIZE = ENV.body_limit_bytes
FILE_UPLOAD_TEMP_DIR = UPLOADS
FILE_UPLOAD_HANDLERS = ["controlplane.uploads.BoundedUpload"]

# -- REST -----------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.platform.accounts.authentication.TokenAuthentication",
        "apps.platform.accounts.authentication.BrowserSession",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["controlplane.rest.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "controlplane.rest.Negotiation",
    "DEFAULT_PAGINATION_CLASS": "controlplane.rest.CursorPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "controlplane.rest.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "PAGE_SIZE": 50,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Control plane",
    "VERSION": "1",
    "DESCRIPTION": "Every action of the browser, for programs. docs/rest.md walks through it.",
    "OAS_VERSION": "3.1.0",  # 3.0.3 has no `type: null`, which the specs' schemas use
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "JobState": "apps.platform.jobs.states.JobState.choices",
        "ApprovalState": "apps.platform.approvals.states.ApprovalState.choices",
        "PipelineState": "apps.ml.pipelines.states.PipelineState.choices",  # a sweep has the same states
        "AccountKind": ["user", "service_account"],
        "SystemRoleEnum": ["system_admin", "security_admin", "auditor"],
        "HitKind": "apps.web.search.hits.GROUPS",
        "RunStatus": "apps.ml.experiments.states.RunState.choices",
        "RerunVerdict": "apps.ml.reruns.states.Verdict.choices",
        "GateOutcome": "apps.ml.registry.states.GateState.choices",
        "RerunStatus": "apps.ml.reruns.states.RerunState.choices",
        "EndpointStatus": "apps.ml.endpoints.states.EndpointState.choices",
        "ReplicaStatus": "apps.ml.endpoints.states.ReplicaState.choices",
        "ReleaseStatus": "apps.fleet.releases.states.ReleaseState.choices",
        "DeviceStatus": "apps.fleet.devices.states.DeviceState.choices",
        "AssignmentStatus": "apps.fleet.devices.states.AssignmentState.choices",
        "OutgoingBundleStatus": "apps.site.transfer.states.OutgoingState.choices",
        "IncomingBundleStatus": "apps.site.transfer.states.IncomingState.choices",
        "BundleSignerStatus": "apps.site.transfer.states.SignerState.choices",
        "RecallStatus": "apps.fleet.recalls.states.RecallState.choices",
        "RolloutStatus": "apps.fleet.rollouts.states.RolloutState.choices",
        "StudyStatus": "apps.ml.federation.states.StudyState.choices",
        "StudySiteStatus": "apps.ml.federation.states.SiteState.choices",
        "SiteStudyStatus": "apps.ml.federation.states.SiteStudyState.choices",
        "EvidenceRunStatus": "apps.site.compliance.states.RunState.choices",
        "SecurityAlarmStatus": "apps.site.security_alarms.states.AlarmState.choices",
        "PersonalDataCategory": "apps.data.personal_data.categories.Category.choices",
        "LegalBasis": "apps.data.personal_data.categories.LegalBasis.choices",
        "LabelServerStatus": "apps.ml.labelling.states.ServerState.choices",
        "LabellingStatus": "apps.ml.labelling.states.LabellingState.choices",
        "LabelTaskStatus": "apps.ml.labelling.states.TaskState.choices",
        "LabelTaskOrder": "apps.ml.labelling.states.TaskOrder.choices",
        "AlarmStatus": "apps.fleet.monitoring.states.AlarmState.choices",
        "RetrainingStatus": "apps.fleet.monitoring.retraining.states.RetrainingState.choices",
        "WindowVerdict": "apps.fleet.monitoring.states.Verdict.choices",
        "WaveStatus": "apps.fleet.rollouts.states.WaveState.choices",
        "RolloutStage": "apps.fleet.rollouts.states.Stage.choices",
        "RolloutVerdict": "apps.fleet.rollouts.states.Verdict.choices",
        "DeviceHealth": "apps.fleet.devices.states.Health.choices",
        "ReleaseKeyStatus": "apps.fleet.releases.states.KeyState.choices",
        "WebhookStatus": "apps.platform.notices.states.WebhookState.choices",
        "DeliveryStatus": "apps.platform.notices.states.DeliveryState.choices",
        "ScheduleStatus": "apps.platform.calendars.states.ScheduleState.choices",  # a monitor has the same states
        "IsolationStatus": ["refused", "passed", "unknown", "stale", "never"],
        "ProbeKind": ["tcp", "udp", "icmp", "dns", "ipv6", "metadata"],
        "ProbeVerdict": ["refused", "passed", "unknown"],
        "TrialStatus": "apps.ml.sweeps.states.TrialState.choices",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.platform.jobs.openapi.add_spec_schemas",
        "apps.ml.pipelines.openapi.add_pipeline_schemas",
    ],
}

# -- static files, languages, time ----------------------------------------------------------------------------------
STATIC_URL = "static/"
STATIC_ROOT = STATIC
STATICFILES_DIRS = [SHIPPED_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True  # served from the packages and static/ in place: nothing to collect, nothing to forget
WHITENOISE_AUTOREFRESH = DEBUG
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [SHIPPED_DIR / "locale"]
DOCS_DIR = SHIPPED_DIR / "docs"  # the manual, which the plane serves below /help
TIME_ZONE = ENV.time_zone
USE_TZ = True

# -- logs -----------------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {
            "()": "controlplane.logs.one_line.OneLine",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": ENV.log_level},
    "loggers": {name: {"level": "WARNING"} for name in ("axes", "httpx", "kombu")},  # a line a request, of httpx
}
