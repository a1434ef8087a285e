"""Checks of the gateway's WebSocket by an independent client, Python's websockets.

websocket.py URL CHECK runs one check; a failed check ends it with a traceback.
"""

import asyncio
import json
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

url, question = sys.argv[1:]


async def replies(socket, number):
    return [await socket.recv() for _ in range(number)]


async def is_silent(socket):
    """Returns whether no message is left: a pong comes after all messages sent before it."""
    await (await socket.ping())
    try:
        return not await asyncio.wait_for(socket.recv(), 0.05)
    except asyncio.TimeoutError:
        return True


def is_notice(text, error="rate limit exceeded"):
    notice = json.loads(text)
    seconds, millis = notice["retry_after"], notice["retry_after_ms"]
    assert notice["type"] == "rate_limit" and notice["error"] == error, notice
    assert seconds >= 1 and (seconds - 1) * 1000 < millis <= seconds * 1000, notice
    return True


async def handshake():
    """The third of three handshakes is answered 429, with the headers and the body of any denied request."""
    for _ in range(2):
        async with connect(url) as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
            assert "ratelimit" in socket.response.headers, socket.response.headers
    try:
        async with connect(url):
            raise AssertionError("it is one too many")
    except InvalidStatus as error:
        response = error.response
        assert response.status_code == 429, response
        assert int(response.headers["Retry-After"]) >= 1
        assert response.headers["RateLimit-Policy"].startswith('"rate-1";q=2;w=604800')
        assert response.headers["Content-Type"] == "application/problem+json"
        assert json.loads(response.body)["violated-policies"] == ["rate-1"]


async def message():
    """Three messages of a connection pass, of any kind; the others are dropped with one notice."""
    for _ in range(2):
        async with connect(url) as socket:
            sent = ["text", b"\x00bytes\xff", ""]
            for each in sent:
                await socket.send(each)
            assert await replies(socket, 3) == sent
            for _ in range(200):
                await socket.send("too many")
            assert is_notice(await socket.recv())
            assert await is_silent(socket)
        assert socket.close_code == 1000


async def close():
    async with connect(url) as socket:
        for number in range(20):
            await socket.send(str(number))
        assert await replies(socket, 3) == ["0", "1", "2"]
        try:
            await socket.recv()
            raise AssertionError("it is to be closed")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (1008, "rate limit exceeded"), closed
            # Both sides sent a close frame, the server first.
            assert closed.sent.code == 1008 and closed.rcvd_then_sent, closed


async def delay():
    """At five a second, ten messages take at least 1.8 s; a ping overtakes messages that wait in the server."""
    async with connect(url) as socket:
        began = time.monotonic()
        await socket.send("0")
        await socket.send("1")
        pong = await socket.ping()
        assert await socket.recv() == "0"
        await pong
        assert time.monotonic() - began < 0.2 or await socket.recv() == "1"
        for number in range(2, 10):
            await socket.send(str(number))
        last = None
        while last != "9":
            previous, last = last, await socket.recv()
            assert previous is None or int(last) == int(previous) + 1, (previous, last)
        assert time.monotonic() - began >= 1.8
        assert await is_silent(socket)
    assert socket.close_code == 1000


async def fragments():
    """A message in many frames counts as one; a ping between the frames is answered."""

    async def pieces():
        for number in range(50):
            yield f"{number} "
            if number == 25:
                await (await socket.ping())

    async with connect(url) as socket:
        for _ in range(3):
            await socket.send(pieces())
            assert await socket.recv() == "".join(f"{number} " for number in range(50))
        await socket.send(pieces())
        assert is_notice(await socket.recv())


async def sizes():
    """The longest message passes; one byte more ends the connection, and so does text that is not UTF-8."""
    async with connect(url, max_size=None) as socket:
        await socket.send(b"x" * (1 << 20))
        assert len(await socket.recv()) == 1 << 20
    for bad, text, code in [(b"x" * ((1 << 20) + 1), False, 1009), (b"\xff\xfe", True, 1007)]:
        async with connect(url) as socket:
            try:
                await socket.send(bad, text=text)
                await socket.recv()
                raise AssertionError("it is to be closed")
            except ConnectionClosed as closed:
                # The server may close before it has read the whole message, so its close frame may be lost.
                is_lost = closed.rcvd is None and code == 1009
                assert is_lost or closed.rcvd.code == code, closed


async def unread():
    """If a client does not read, no answers pile up, and the server still reads its messages."""
    async with connect(url, ping_interval=None) as socket:
        socket.transport.pause_reading()
        for _ in range(20_000):
            await socket.send("x" * 1_000)
        socket.transport.resume_reading()
        assert await replies(socket, 3) == ["x" * 1_000] * 3
        assert is_notice(await socket.recv())
        assert await is_silent(socket)


async def many():
    """A hundred connections at once have a limit each."""

    async def one(number):
        async with connect(url) as socket:
            for _ in range(5):
                await socket.send(str(number))
            assert await replies(socket, 3) == [str(number)] * 3
            assert is_notice(await socket.recv())

    await asyncio.gather(*(one(number) for number in range(100)))


async def ending():
    """The server sends a close frame when it ends."""
    async with connect(url) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        print("open", flush=True)
        try:
            await socket.recv()
            raise AssertionError("it is to be closed")
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 1001 and closed.sent.code == 1001, closed


asyncio.run(globals()[question]())
