"""A server of TLS that does what a test asks for: `tls.py CERT KEY MODE [CLIENT_CA]`; it prints its port.

echo    says what the handshake settled in one line, then sends back what comes
proxy   the same, after a line of a PROXY header of version 1 before TLS, which it sends back first
cut     answers an HTTP request without a length, and closes without saying that this is all
whole   the same, and says so
early   closes every connection within the handshake
"""

import socket
import ssl
import sys
import threading

cert, key, mode = sys.argv[1:4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
protocols = ["http/1.1"] if mode in ("cut", "whole") else ["h2", "http/1.1"]
context.set_alpn_protocols(protocols + (["tests"] if mode in ("echo", "proxy") else []))
if len(sys.argv) > 4:
    context.load_verify_locations(sys.argv[4])
    context.verify_mode = ssl.CERT_REQUIRED
names = {}
context.sni_callback = lambda stream, name, _: names.__setitem__(stream, name)


def line_of(connection):
    """Reads up to a line's end, byte by byte: what follows belongs to TLS."""
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line


def serve(connection):
    if mode == "early":
        connection.recv(1)
        connection.close()
        return
    header = line_of(connection) if mode == "proxy" else b""
    try:
        stream = context.wrap_socket(connection, server_side=True)
    except (ssl.SSLError, OSError):
        connection.close()
        return
    try:
        if mode in ("cut", "whole"):
            while b"\r\n\r\n" not in stream.recv(65536):
                pass
            stream.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
            if mode == "whole":
                stream.unwrap()
            return
        facts = f"{stream.version()} {names.get(stream)} {stream.selected_alpn_protocol()} {stream.session_reused}\n"
        stream.sendall(header + facts.encode())
        while data := stream.recv(65536):
            stream.sendall(data)
        stream.unwrap()
    except (ssl.SSLError, OSError):
        pass
    finally:
        stream.close()


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
