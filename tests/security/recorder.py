"""Runs a command in a network of its own, in which every address is this machine, and writes down
which others it wanted to reach: `unshare --net python recorder.py REPORT COMMAND...`.

Names lead to one made-up address, so that what follows a look-up is seen, too.
"""

import json
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

MADE_UP = "198.18.0.1"
ETH_P_ALL = 3
IP_PKTINFO = 8  # ip(7): by which address a packet came


def main() -> int:
    report, *command = sys.argv[1:]
    for words in (
        ("link", "set", "lo", "up"),
        # Whoever asks by which address another one is reached gets its own, as vLLM does, which
        # would take the other one for its own without.
        ("route", "add", "local", "default", "dev", "lo", "src", "127.0.0.1"),
        ("-6", "route", "add", "local", "default", "dev", "lo", "src", "::1"),
    ):
        subprocess.run(["ip", *words], check=True)
    wanted: dict[str, None] = {}
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    packets.bind(("lo", 0))
    packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**24)
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("0.0.0.0", 53))
    names.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    for work in (lambda: _watch(packets, wanted), lambda: _resolve(names, wanted)):
        threading.Thread(target=work, daemon=True).start()
    code = subprocess.run(command, check=False).returncode
    Path(report).write_text(json.dumps(list(wanted)))
    return code


def _watch(packets: socket.socket, wanted: dict[str, None]) -> None:
    while True:
        packet, (_, protocol, kind, *_) = packets.recvfrom(2**16)
        if kind == socket.PACKET_OUTGOING and (goal := _goal(packet, protocol)):
            wanted[goal] = None


def _goal(packet: bytes, protocol: int) -> str | None:
    """Where a packet that begins something goes, unless that is this machine's own address."""
    if protocol == 0x0800:
        kind, rest = packet[9], packet[(packet[0] & 15) * 4 :]
        address = socket.inet_ntop(socket.AF_INET, packet[16:20])
    elif protocol == 0x86DD:
        kind, rest = packet[6], packet[40:]
        address = socket.inet_ntop(socket.AF_INET6, packet[24:40])
    else:
        return None
    begins = kind == socket.IPPROTO_UDP or (kind == socket.IPPROTO_TCP and rest[13] & 0x12 == 2)
    port = struct.unpack("!H", rest[2:4])[0] if begins else 53
    sent_by = struct.unpack("!H", rest[:2])[0]
    ours = address.startswith(("127.", "ff02:")) or address == "::1"
    if ours or not begins or 53 in (port, sent_by):
        return None
    # What a library asks the kernel about its own address, without sending, is not seen here.
    return f"{address}:{port}"


def _resolve(names: socket.socket, wanted: dict[str, None]) -> None:
    while True:
        query, ((_, _, info),), _, asker = names.recvmsg(2**16, socket.CMSG_SPACE(12))
        name, place = [], 12
        while size := query[place]:
            name.append(query[place + 1 : place + 1 + size].decode("ascii", "replace"))
            place += size + 1
        kind = struct.unpack("!H", query[place + 1 : place + 3])[0]
        question = query[12 : place + 5]
        wanted[".".join(name)] = None
        found = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(MADE_UP)
        answer = found if kind == 1 else b""
        head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if answer else 0, 0, 0)
        # From the address that was asked: others are not listened to.
        came_by = struct.pack("I4s4s", 0, info[8:12], b"")
        packets = [(socket.IPPROTO_IP, IP_PKTINFO, came_by)]
        names.sendmsg([head + question + answer], packets, 0, asker)


if __name__ == "__main__":
    sys.exit(main())
