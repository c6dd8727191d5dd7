"""A gRPC server that does what a test asks for, on plain HTTP/2; it prints its port.

/t.T/Echo      the message, with the metadata that begins with `x-` sent back as trailing metadata
/t.T/Fail      NOT_FOUND, with details that need encoding and binary trailing metadata
/t.T/Down      as many messages as the request says in digits
/t.T/Up        the lengths of all messages
/t.T/Both      each message as it comes
/t.T/Left      the milliseconds that are left of the deadline
/t.T/Wait      nothing until the call is cancelled; how many were, by /t.T/Cancelled
"""

import sys
import threading
from concurrent import futures

import grpc

cancelled = []


def sent_back(context):
    return [pair for pair in context.invocation_metadata() if pair[0].startswith("x-")]


def echo(request, context):
    context.set_trailing_metadata(sent_back(context))
    return request


def fail(request, context):
    context.set_trailing_metadata([("x-why-bin", b"\0\1\2"), ("x-why", "one"), ("x-why", "two")])
    context.abort(grpc.StatusCode.NOT_FOUND, "50% of über")


def down(request, context):
    for n in range(int(request or b"0")):
        yield b"%d" % n


def up(requests, context):
    return b" ".join(b"%d" % len(request) for request in requests)


def both(requests, context):
    yield from requests


def left(request, context):
    remaining = context.time_remaining()
    return b"none" if remaining is None else b"%d" % (remaining * 1000)


def wait(request, context):
    over = threading.Event()
    context.add_callback(over.set)
    yield b"begun"
    over.wait(60)
    cancelled.append(1)


def count_cancelled(request, context):
    return b"%d" % len(cancelled)


handlers = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Up": grpc.stream_unary_rpc_method_handler(up),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Left": grpc.unary_unary_rpc_method_handler(left),
    "Wait": grpc.unary_stream_rpc_method_handler(wait),
    "Cancelled": grpc.unary_unary_rpc_method_handler(count_cancelled),
}
options = [("grpc.max_receive_message_length", -1)]
if len(sys.argv) > 1:
    options.append(("grpc.max_connection_age_ms", int(sys.argv[1])))
server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=options)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
