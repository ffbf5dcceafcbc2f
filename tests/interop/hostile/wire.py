"""One HTTP/2 connection that sends whatever it is told, and notes what comes back."""

import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "grpcio"))

import h2.connection
import hpack
from hyperframe import frame as frames

SEND_LIMIT = 3
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Closed(Exception):
    """The other side ended the connection, or takes nothing any more."""


class Wire:
    """A client's connection. `deaf` reads nothing after a proper beginning, so that nothing is acknowledged either."""

    def __init__(self, address, settings=None, deaf=False):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=SEND_LIMIT)
        self.encoder = hpack.Encoder()
        self.goaways, self.resets, self.seen = [], [], []
        self.closed = threading.Event()
        self.sent = 0
        self.trouble = None
        # What may be sent: 0 is the connection.
        self.room, self.first_room, self.widened = {0: 65_535}, 65_535, threading.Condition()
        self._writing = threading.Lock()
        connection = h2.connection.H2Connection()
        connection.local_settings.update(settings or {})
        connection.initiate_connection()
        self.send(connection.data_to_send())
        self._deaf, self._welcome = deaf, threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        # What breaks off later is due to the attack.
        if not self._welcome.wait(SEND_LIMIT):
            raise RuntimeError("the server does not acknowledge a proper beginning")

    def send(self, data):
        if self.closed.is_set():
            raise Closed
        try:
            with self._writing:
                self.socket.sendall(data)
            self.sent += len(data)
        except OSError as problem:
            raise Closed from problem

    def upload(self, stream, payload, patience=2):
        """Data as far as the other side lets it come; it may be told to wait for so many seconds in all."""
        until, at = now() + patience, 0
        while at < len(payload) and not self.closed.is_set():
            with self.widened:
                own = self.room.setdefault(stream, self.first_room)
                size = max(0, min(own, self.room[0], 16_384, len(payload) - at))
                self.room[0] -= size
                self.room[stream] -= size
            if size:
                yield data(stream, payload[at : at + size])
                at += size
                continue
            yield None
            with self.widened:
                if min(self.room[0], self.room[stream]) <= 0 and not self.widened.wait(max(0, until - now())):
                    return

    def request(self, stream, endpoint, body=None, end=True, extra=()):
        """The head of a gRPC call and one message, if any."""
        head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/echo.Echo/{endpoint}"),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            *extra,
        ]
        flags = ["END_HEADERS"] + (["END_STREAM"] if end and body is None else [])
        out = frame(frames.HeadersFrame, stream, flags, data=self.encoder.encode(head))
        if body is not None:
            out += data(stream, message(body), end)
        return out

    def wait_closed(self, seconds):
        return self.closed.wait(seconds)

    def abandon(self):
        """Ends the connection without a word."""
        self.closed.set()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def _read(self):
        buffer = b""
        self.socket.settimeout(None)
        try:
            while chunk := self.socket.recv(65536):
                buffer += chunk
                while len(buffer) >= 9:
                    parsed, length = frames.Frame.parse_frame_header(memoryview(buffer[:9]))
                    if len(buffer) < 9 + length:
                        break
                    parsed.parse_body(memoryview(buffer[9 : 9 + length]))
                    buffer = buffer[9 + length :]
                    self._note(parsed)
                if self._deaf and self._welcome.is_set():
                    return
        except (OSError, Closed):
            pass
        except Exception as trouble:
            # A mistake of ours must not pass for the other side's doing.
            self.trouble = trouble
        self.closed.set()

    def _note(self, seen):
        if len(self.seen) < 10_000:
            self.seen.append(type(seen).__name__)
        if isinstance(seen, frames.GoAwayFrame):
            self.goaways.append(seen.error_code)
        elif isinstance(seen, frames.RstStreamFrame):
            self.resets.append(seen.error_code)
        elif isinstance(seen, frames.WindowUpdateFrame):
            with self.widened:
                own = self.room.setdefault(seen.stream_id, self.first_room)
                self.room[seen.stream_id] = own + seen.window_increment
                self.widened.notify_all()
        elif isinstance(seen, frames.SettingsFrame):
            if "ACK" in seen.flags:
                self._welcome.set()
            else:
                self.first_room = seen.settings.get(4, self.first_room)
                self.send(frame(frames.SettingsFrame, 0, ["ACK"]))
        elif isinstance(seen, frames.PingFrame) and "ACK" not in seen.flags:
            self.send(frame(frames.PingFrame, 0, ["ACK"], opaque_data=seen.opaque_data))


def frame(kind, stream, flags=(), **fields):
    made = kind(stream)
    for name, value in fields.items():
        setattr(made, name, value)
    for flag in flags:
        made.flags.add(flag)
    return made.serialize()


def raw(kind, flags, stream, payload):
    """A frame that hyperframe would not make."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def data(stream, payload, end=False):
    return raw(0, 1 if end else 0, stream, payload)


def message(body, flag=0, length=None):
    return bytes([flag]) + (len(body) if length is None else length).to_bytes(4, "big") + body


def reset(stream, code=8):
    return raw(3, 0, stream, code.to_bytes(4, "big"))


def window(stream, increment):
    return raw(8, 0, stream, increment.to_bytes(4, "big"))


def integer(value, bits, first):
    """HPACK's integer behind a prefix of so many bits."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    out, value = bytes([first | limit]), value - limit
    while value >= 128:
        out, value = out + bytes([value % 128 | 128]), value // 128
    return out + bytes([value])


def literal(name, value, indexed=False):
    """A header field written out, which enters HPACK's table if asked."""
    out = b"\x40" if indexed else b"\x00"
    return out + integer(len(name), 7, 0) + name + integer(len(value), 7, 0) + value


def now():
    return time.monotonic()
