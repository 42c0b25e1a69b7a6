"""Below /git/: what git and git-lfs ask of `<project>/<dataset>.git`. The ending may be left out, as git allows it.

No trailing slashes, and no address without an answer in the client's own words.
"""

from django.urls import re_path

from apps.data.repositories import lfs, locks, smart_http, transfers

AT = r"^(?P<project>[A-Za-z0-9._-]+)/(?P<name>[A-Za-z0-9_-]+)(?:\.git)?"
LFS = rf"{AT}/info/lfs"

app_name = "repositories"
urlpatterns = [
    re_path(rf"{AT}/info/refs$", smart_http.handle_references, name="references"),
    re_path(rf"{AT}/git-upload-pack$", smart_http.fetch, name="fetch"),
    re_path(rf"{AT}/git-receive-pack$", smart_http.push, name="push"),
    re_path(rf"{LFS}/objects/batch$", lfs.handle_batch, name="batch"),
    re_path(rf"{LFS}/objects/verify$", transfers.verify_upload, name="verify"),
    re_path(rf"{LFS}/objects/(?P<oid>[0-9a-f]{{64}})$", transfers.handle_object, name="object"),
    re_path(rf"{LFS}/locks$", locks.handle_locks, name="locks"),
    re_path(rf"{LFS}/locks/verify$", locks.verify_locks, name="verify_locks"),
    re_path(rf"{LFS}/locks/(?P<key>[0-9]+)/unlock$", locks.unlock, name="unlock"),
    re_path(rf"{LFS}(?P<rest>/.*)?$", smart_http.refuse_lfs_address, name="nothing_of_lfs"),
    re_path(r"^(?P<rest>.*)$", smart_http.refuse_git_address, name="at"),
]
