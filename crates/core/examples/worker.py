"""The shortest worker that is correct (PROTOCOL.md, section 9): echoes one line to each client.

    cargo run -p socketserver-core --example parent -- 8888 python3 crates/core/examples/worker.py
"""

import os
import socket
import struct

HELLO, ACK, REFUSE, ENDED, CREDIT = 0x01, 0x02, 0x03, 0x04, 0x05
CONNECTION, RETIRE, CLOSE = 0x82, 0x86, 0x87
NO_DESCRIPTOR = 2
SCM_MAX_FD = 253


def frame(kind, record):
    return struct.pack("<IBBH", len(record), kind, 0, 1) + record


class Channel:
    def __init__(self, number):
        os.set_inheritable(number, False)
        self.socket = socket.socket(fileno=number)
        self.bytes, self.descriptors = b"", []

    def say(self, *frames):
        self.socket.sendall(b"".join(frames))

    def frames(self):
        """Frames as (kind, records), until the channel ends."""
        while True:
            while len(self.bytes) >= 8:
                length, kind, _, count = struct.unpack_from("<IBBH", self.bytes)
                if len(self.bytes) < 8 + length:
                    break
                records, self.bytes = self.bytes[8 : 8 + length], self.bytes[8 + length :]
                size = length // count if count else 0
                yield kind, [records[at : at + size] for at in range(0, length, size or 1)]
            # Sets MSG_CMSG_CLOEXEC by itself.
            data, descriptors, _, _ = socket.recv_fds(self.socket, 4096, SCM_MAX_FD)
            if not data:
                return
            self.bytes += data
            self.descriptors += descriptors


def serve(connection):
    connection.setblocking(True)
    with connection, connection.makefile("rwb") as lines:
        lines.write(lines.readline())


def main():
    channel = Channel(int(os.environ.pop("SOCKETSERVER_CHANNEL")))
    one_more = frame(CREDIT, struct.pack("<IHH", 1, 0, 0))
    hello = struct.pack("<4sHHII", b"SSRV", 1, 1, os.getpid(), 0)
    channel.say(frame(HELLO, hello), one_more)
    for kind, records in channel.frames():
        if kind in (RETIRE, CLOSE):
            break
        if kind != CONNECTION:
            continue
        for record in records:
            (connection_id,) = struct.unpack_from("<Q", record)
            if not channel.descriptors:
                refusal = struct.pack("<QI", connection_id, NO_DESCRIPTOR)
                channel.say(frame(REFUSE, refusal), one_more)
                continue
            connection = socket.socket(fileno=channel.descriptors.pop(0))
            channel.say(frame(ACK, struct.pack("<Q", connection_id)))
            try:
                serve(connection)
            except OSError:
                pass
            channel.say(frame(ENDED, struct.pack("<I", 1)), one_more)


main()
