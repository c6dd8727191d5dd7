"""A WebSocket server that sends each message back; it prints its port."""

from websockets.sync.server import serve

with serve(lambda connection: [connection.send(message) for message in connection], "127.0.0.1", 0) as server:
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
