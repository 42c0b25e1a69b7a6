"""Every write on people, projects, members, service accounts and tokens. All are audited; role changes are sealed."""

from apps.platform.accounts.services.credentials import (
    DEFAULT_DAYS,
    confirm_credentials,
    create_token,
    create_token_for_service_account,
    reset_password,
    revoke_token,
)
from apps.platform.accounts.services.directory import set_directory_access, sign_in_from_directory
from apps.platform.accounts.services.expiry import disable_idle_accounts, set_account_expiry
from apps.platform.accounts.services.factors import reset_second_factor, set_up_second_factor
from apps.platform.accounts.services.labels import (
    set_clearance,
    set_project_label,
    set_service_account_clearance,
)
from apps.platform.accounts.services.members import (
    create_project,
    create_service_account,
    disable_service_account,
    remove_member,
    set_member_roles,
)
from apps.platform.accounts.services.people import (
    create_user,
    disable_user,
    enable_user,
    rename_oneself,
    set_preferences,
    set_system_role,
)

__all__ = [
    "DEFAULT_DAYS",
    "confirm_credentials",
    "create_project",
    "create_service_account",
    "create_token",
    "create_token_for_service_account",
    "create_user",
    "disable_idle_accounts",
    "disable_service_account",
    "disable_user",
    "enable_user",
    "remove_member",
    "rename_oneself",
    "reset_password",
    "reset_second_factor",
    "revoke_token",
    "set_account_expiry",
    "set_clearance",
    "set_directory_access",
    "set_member_roles",
    "set_preferences",
    "set_project_label",
    "set_service_account_clearance",
    "set_system_role",
    "set_up_second_factor",
    "sign_in_from_directory",
]
