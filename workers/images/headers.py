"""Headers of tar files from outside, of which no part takes much memory or time before it is looked at."""

from __future__ import annotations

import tarfile
from typing import Any, ClassVar

from deepseek.messages import N_

MAX_HEADER_BYTES = 1 << 20  # of a long name or of extended attributes, which are read at once
MAX_CHAIN = 16  # of headers before an entry: a long name, a long link and attributes are three
MAX_GLOBAL = 100  # attributes that hold for all entries after them
LONG_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class UnsafeEntry(ValueError):
    """An entry that is refused: `reason` and the entry's name."""

    def __init__(self, reason: str, name: str) -> None:
        super().__init__(reason, name)
        self.reason, self.name = reason, name


class LimitedHeader(tarfile.TarInfo):
    """A header of limited size. That of a sparse file is refused: the list of its parts is read without a limit."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> LimitedHeader:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in LONG_HEADERS and header.size > MAX_HEADER_BYTES):
            raise build_header_error(header)
        if header.type == tarfile.GNUTYPE_SPARSE:
            header._refuse_sparse()
        return header

    @classmethod
    def fromtarfile(cls, file: Any) -> LimitedHeader:
        file.chain += 1
        try:
            header = super().fromtarfile(file)
        finally:
            file.chain -= 1
        shared = file.pax_headers
        total = sum(map(len, shared.values())) if len(shared) <= MAX_GLOBAL else MAX_HEADER_BYTES + 1
        if header.size < 0 or total > MAX_HEADER_BYTES:
            raise build_header_error(header)
        return header

    def _proc_member(self, file: Any) -> Any:
        if file.chain > MAX_CHAIN:
            raise build_header_error(self)
        return super()._proc_member(file)  # type: ignore[misc]

    def _refuse_sparse(self, *_: Any) -> None:
        raise UnsafeEntry(N_("a layer holds a sparse file, which is not read here"), self.name)

    # What tarfile calls for the attributes GNU.sparse.*, before it reads the list.
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


class LimitedTar(tarfile.TarFile):
    """A tar file of limited headers; reading it raises UnsafeEntry too."""

    tarinfo: ClassVar[type[tarfile.TarInfo]] = LimitedHeader  # type: ignore[misc]
    chain = 0  # headers that are being read, one for the other


def build_header_error(header: tarfile.TarInfo) -> UnsafeEntry:
    return UnsafeEntry(N_("a header of a layer is too long"), header.name)
