"""A worker in Python: joins the server that shares a path, and echoes one line to each client.

    python3 worker.py /run/app.ctl

Serves one connection at a time on one thread; start as many workers as needed. docs/protocol.md explains each step.
"""

import os, select, signal, socket, struct, sys

HELLO, ACK, REFUSE, ENDED, CREDIT, LEAVE = 0x01, 0x02, 0x03, 0x04, 0x05, 0x07
WELCOME, CONNECTION, RECALL, CANCELLED, DRAIN, RETIRE, CLOSE = range(0x81, 0x88)
RECORD_SIZE = {WELCOME: 12, CONNECTION: 40, RECALL: 8, CANCELLED: 8, DRAIN: 0, RETIRE: 0, CLOSE: 8}
NO_DESCRIPTOR, SCM_MAX_FD = 2, 253

def frame(kind, layout="<", *fields):
    record = struct.pack(layout, *fields)
    return struct.pack("<IBBH", len(record), kind, 0, 1 if record else 0) + record

ONE_MORE = frame(CREDIT, "<IHH", 1, 0, 0)

def send_frames(channel, *frames):
    """Sends frames. Returns False if the channel is closed; frames that the parent sent earlier can still be read."""
    try:
        channel.sendall(b"".join(frames))
        return True
    except OSError:
        return False

def read_frames(channel, wake, descriptors):
    """Yields the frames of the parent as (kind, records), and fills `descriptors`. Exits the process on SIGTERM."""
    received = b""
    while True:
        while len(received) >= 8:
            length, kind, reserved, count = struct.unpack_from("<IBBH", received)
            size = RECORD_SIZE.get(kind, -1)
            if reserved or count > 64 or bool(count) != bool(size) or length != count * size:
                sys.exit("The server has sent an invalid frame")
            if len(received) < 8 + length:
                break
            records, received = received[8 : 8 + length], received[8 + length :]
            yield kind, [records[at : at + size] for at in range(0, length, size or 1)]
        if descriptors and not received:
            sys.exit("The server has sent a descriptor that no frame declares")
        if wake in select.select([channel, wake], [], [])[0]:
            send_frames(channel, frame(LEAVE))
            sys.exit()  # Connections without an ACK go to other workers.
        try:
            data, arrived, _, _ = socket.recv_fds(channel, 4096, SCM_MAX_FD)
        except ConnectionResetError:
            return
        for descriptor in arrived:
            os.set_inheritable(descriptor, False)
        descriptors += arrived
        if not data:
            return
        received += data

def serve(connection):
    """Echoes one line, after the name of this worker."""
    try:
        with connection, connection.makefile("rb") as lines:
            connection.settimeout(30)
            connection.sendall(b"python-%d %s" % (os.getpid(), lines.readline(4096)))
            connection.shutdown(socket.SHUT_WR)  # close() sends no FIN while another process has a copy.
    except OSError:
        pass  # The client has disconnected, or timed out.

def main(path):
    wake, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)
    channel, descriptors = socket.socket(socket.AF_UNIX), []
    channel.connect(path)
    send_frames(channel, frame(HELLO, "<4sHHII", b"SSRV", 1, 1, os.getpid(), 0), ONE_MORE)
    frames = read_frames(channel, wake, descriptors)
    for kind, records in frames:
        if kind == RETIRE:
            sys.exit()
        if kind == CLOSE:
            reason, detail = struct.unpack("<II", records[0])
            sys.exit(f"The server has closed the channel: reason {reason}, detail {detail}" if reason > 2 else 0)
        if kind != CONNECTION:
            continue  # A RECALL has crossed an ACK; this worker has no idle connections that a DRAIN could close.
        (number,) = struct.unpack_from("<Q", records[0])
        if not descriptors:  # The process has reached its limit of open files.
            send_frames(channel, frame(REFUSE, "<QI", number, NO_DESCRIPTOR), ONE_MORE)
            continue
        connection = socket.socket(fileno=descriptors.pop(0))
        if send_frames(channel, frame(ACK, "<Q", number)):  # The ACK precedes the first read.
            serve(connection)
            send_frames(channel, frame(ENDED, "<I", 1), ONE_MORE)
        elif all(kind != CLOSE for kind, _ in frames):
            serve(connection)  # The parent has died, so no other worker can get the connection.
    sys.exit("The server has died")

main(sys.argv[1])
