"""Headers of tar files from outside, of which no part takes much memory or time before it is looked at."""

from __future__ import annotations

import re
import tarfile
from typing import Any, ClassVar

from deepseek.messages import N_

MAX_HEADER_BYTES = 1 << 20  # of a long name or of extended attributes, which are read at once
MAX_CHAIN = 16  # of headers before an entry: a long name, a long link and attributes are three
MAX_GLOBAL = 100  # attributes that hold for all entries after them
MAX_DIGITS = 200  # in one run: a search of tarfile takes their square
LENGTH = re.compile(rb"(\d{1,7}) ")  # of a record, with itself
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

    def _proc_pax(self, file: Any) -> Any:
        """Check the records before tarfile does, which reads one again for each that overlaps it, in 3.11 at least."""
        data = file.fileobj.read(self._block(self.size))[: self.size]  # type: ignore[attr-defined]
        check_records(data)
        stream = file.fileobj
        file.fileobj = ReadAlready(file, data)
        try:
            return super()._proc_pax(file)  # type: ignore[misc]
        finally:
            file.fileobj = stream

    def _refuse_sparse(self, *_: Any) -> None:
        raise UnsafeEntry(N_("a layer holds a sparse file, which is not read here"), self.name)

    # What tarfile calls for the attributes GNU.sparse.*, before it reads the list.
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


class LimitedTar(tarfile.TarFile):
    """A tar file of limited headers; reading it raises UnsafeEntry too."""

    tarinfo: ClassVar[type[tarfile.TarInfo]] = LimitedHeader  # type: ignore[misc]
    chain = 0  # headers that are being read, one for the other


class ReadAlready:
    """In the place of a tar file's stream for one read, of what was read from it before."""

    def __init__(self, file: Any, data: bytes) -> None:
        self._file, self._stream, self._data = file, file.fileobj, data

    def read(self, _: int) -> bytes:
        self._file.fileobj = self._stream
        return self._data


def check_records(data: bytes) -> None:
    """Raise tarfile.ReadError unless these are records of a pax header, "LENGTH NAME=VALUE\\n", one after another."""
    position = 0
    while position < len(data):
        length = LENGTH.match(data, position)
        end = position + int(length[1]) if length else -1
        if not length or end > len(data) or data[end - 1 : end] != b"\n" or data.find(b"=", length.end(), end) < 0:
            raise tarfile.ReadError("a pax header is malformed")
        position = end
    if any(len(digits) > MAX_DIGITS for digits in re.findall(rb"\d+", data)):
        raise tarfile.ReadError(f"a pax header has a number of more than {MAX_DIGITS} digits")


def build_header_error(header: tarfile.TarInfo) -> UnsafeEntry:
    return UnsafeEntry(N_("a header of a layer is too long"), header.name)
