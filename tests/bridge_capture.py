"""python -I bridge_capture.py FOLDER: keep every frame that comes into a bridge, in one pcap file for each port."""

from __future__ import annotations

import socket
import struct
import sys
import time
from pathlib import Path
from typing import BinaryIO

EVERY_PROTOCOL, PACKET_OUTGOING = 3, 4
MAX_FRAME_BYTES = 2**18  # a veth carries segments that no card has cut yet
BUFFER_BYTES = 64 * 2**20
SO_RCVBUFFORCE = 33
PACKET_STATISTICS, SOL_PACKET = 6, 263
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, MAX_FRAME_BYTES, 1)  # 1: Ethernet


def main(folder: Path) -> None:
    files: dict[str, BinaryIO] = {}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL)) as everything:
        everything.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        everything.settimeout(1.0)
        print("ready", flush=True)
        while True:
            try:
                data, (port, _, direction, *_) = everything.recvfrom(MAX_FRAME_BYTES)
            except TimeoutError:
                require_all(everything)
                continue
            if direction == PACKET_OUTGOING or port in ("lo", "bridge0"):  # seen where it came in
                continue
            if port not in files:
                files[port] = (folder / f"{port}.pcap").open("wb", buffering=0)
                files[port].write(HEADER)
            seconds, micros = divmod(time.time_ns() // 1000, 1_000_000)
            files[port].write(struct.pack("<IIII", seconds, micros, len(data), len(data)) + data)


def require_all(everything: socket.socket) -> None:
    """End where the kernel has dropped frames: a capture with gaps proves nothing."""
    _, dropped = struct.unpack("II", everything.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
    if dropped:
        sys.exit(f"{dropped} frames were lost")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
