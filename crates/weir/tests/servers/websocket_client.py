"""Opens a WebSocket over TLS and tells what came back: `websocket_client.py PORT CA`."""

import socket as sockets
import ssl
import sys

from websockets.sync.client import connect

port, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
socket = sockets.create_connection(("127.0.0.1", int(port)))
with connect(f"wss://shop.test:{port}/ws", ssl=context, sock=socket, compression=None) as connection:
    for message in ("hello", b"\x00\xff" * 100_000, "é" * 40_000):
        connection.send(message)
        answer = connection.recv(timeout=20)
        assert answer == message, (type(answer), len(answer))
    connection.ping().wait(20)
    version = connection.socket.version()
print(version, connection.close_code)
