"""Servers that break the rules, or keep them in bad faith. Each way gets a connection and does with it what it wants."""

import gzip
import itertools

import h2.config
import h2.connection
import h2.events
import hpack
from hyperframe import frame as frames

from wire import data, frame, literal, message, now, raw, reset

# How long an endless way goes on; the calls against it end long before.
ENDLESS = 8
BOMB = gzip.compress(bytes(256 * 1024 * 1024), 1)
WAYS = {}


class Stopped(Exception):
    """The way has gone on for long enough."""


class Session:
    """The server's end of a connection."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.settimeout(3)
        self.encoder = hpack.Encoder()
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.proper = h2.connection.H2Connection(config=config)
        self.until = now() + ENDLESS

    def welcome(self):
        """A proper beginning."""
        self.proper.initiate_connection()
        self.send(self.proper.data_to_send())

    def request(self):
        """The stream of the next request, once its head is there."""
        while True:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise Stopped
            events = self.proper.receive_data(chunk)
            self.send(self.proper.data_to_send())
            for event in events:
                if isinstance(event, h2.events.RequestReceived):
                    return event.stream_id

    def send(self, sent):
        if now() > self.until:
            raise Stopped
        self.socket.sendall(sent)

    def flood(self, chunk):
        """The same bytes without end."""
        batch = chunk * max(1, 16384 // len(chunk))
        while True:
            self.send(batch)

    def head(self, stream, *extra, status=b"200", content_type=b"application/grpc", end=False):
        block = self.encoder.encode([(b":status", status), (b"content-type", content_type), *extra])
        flags = ["END_HEADERS"] + (["END_STREAM"] if end else [])
        return frame(frames.HeadersFrame, stream, flags, data=block)

    def stay(self):
        """Says nothing more, and waits for the client to leave."""
        self.socket.settimeout(max(0.1, self.until - now()))
        while self.socket.recv(65536):
            pass


def way(run):
    WAYS[run.__name__] = run
    return run


def answering(run):
    """A way that begins when a request is there."""

    def answer(session):
        session.welcome()
        run(session, session.request())
        session.stay()

    WAYS[run.__name__] = answer
    return run


@way
def mute(session):
    session.stay()


@answering
def never_answers(session, stream):
    pass


@way
def settings_flood(session):
    session.welcome()
    session.flood(frame(frames.SettingsFrame, 0, settings={4: 65535}))


@way
def ping_flood(session):
    session.welcome()
    session.flood(frame(frames.PingFrame, 0, opaque_data=b"12345678"))


@way
def noise(session):
    session.flood(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@answering
def header_bomb(session, stream):
    field = literal(b"x", b"y" * 3000, True)
    session.send(raw(1, 0x4, stream, b"\x88" + field + b"\xbe" * 13_000))


@answering
def continuation_flood(session, stream):
    session.send(raw(1, 0, stream, b"\x88"))
    session.flood(raw(9, 0, stream, literal(b"a", b"b" * 1000)))


@answering
def informational_flood(session, stream):
    """Heads that promise the real one."""
    session.flood(raw(1, 0x4, stream, literal(b":status", b"103")))


@answering
def endless_trailers(session, stream):
    session.send(session.head(stream) + data(stream, message(b"reply")))
    session.send(raw(1, 0, stream, literal(b"grpc-status", b"0")))
    session.flood(raw(9, 0, stream, literal(b"a", b"b" * 1000)))


@answering
def endless_replies(session, stream):
    """More than the one reply of a unary call, without end."""
    session.send(session.head(stream))
    session.flood(data(stream, message(b"r" * 1000)))


@answering
def empty_data_flood(session, stream):
    session.send(session.head(stream))
    session.flood(data(stream, b""))


@answering
def claim(session, stream):
    """A reply of 4 GiB, so it says."""
    session.send(session.head(stream) + data(stream, message(b"", length=2**32 - 1)))


@answering
def gzip_bomb(session, stream):
    session.send(session.head(stream, (b"grpc-encoding", b"gzip")))
    sent = message(BOMB, flag=1)
    for begin in range(0, len(sent), 16384):
        session.send(data(stream, sent[begin : begin + 16384]))


@way
def goaway_storm(session):
    """Takes no call."""
    session.welcome()
    session.send(raw(7, 0, 0, bytes(8)) * 50)


@answering
def goaway_after_request(session, stream):
    session.send(raw(7, 0, 0, bytes(8)) * 50)


@answering
def odd_reset(session, stream):
    session.send(reset(stream, 0xDEADBEEF))


@answering
def data_for_no_stream(session, stream):
    session.send(data(0, b"hello"))


@answering
def data_before_head(session, stream):
    session.send(data(stream, b"hello"))


@answering
def unasked_stream(session, stream):
    session.send(session.head(stream + 100))


@answering
def push(session, stream):
    block = session.encoder.encode([(b":method", b"GET"), (b":path", b"/")])
    session.send(raw(5, 0x4, stream, (2).to_bytes(4, "big") + block))


@answering
def giant_frame(session, stream):
    session.send(raw(0, 0, stream, bytes(2**20)))


@answering
def window_overflow(session, stream):
    session.send(raw(8, 0, 0, (2**31 - 1).to_bytes(4, "big")) * 2)


@answering
def broken_hpack(session, stream):
    session.send(raw(1, 0x5, stream, b"\xff\xff\xff\xff\xff\xff\xff"))


@answering
def web_page(session, stream):
    session.send(session.head(stream, content_type=b"text/html"))
    session.send(data(stream, b"<html>" + b"x" * 5000, end=True))


@answering
def no_status(session, stream):
    session.send(session.head(stream) + data(stream, message(b"reply"), end=True))


@answering
def nonsense_status(session, stream):
    session.send(session.head(stream, (b"grpc-status", b"99999999999999999999"), end=True))


@answering
def crawling_reply(session, stream):
    """A reply that comes, byte by byte, for longer than any caller waits."""
    session.send(session.head(stream))
    for byte in itertools.chain(message(b"", length=100_000), itertools.repeat(0)):
        session.send(data(stream, bytes([byte])))
        session.socket.settimeout(0.05)
        try:
            if not session.socket.recv(65536):
                return
        except TimeoutError:
            pass
        session.socket.settimeout(3)
