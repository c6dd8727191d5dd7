"""A gRPC service without generated code: messages are google.protobuf.StringValue. Prints its port."""

import threading
from concurrent import futures

import grpc
from google.protobuf.wrappers_pb2 import StringValue

going_on = threading.Event()


def text(value):
    return StringValue(value=value)


def greet(request, context):
    context.send_initial_metadata((("x-first", "1"),))
    context.set_trailing_metadata((("x-last", "ä b".encode().hex()), ("x-sum-bin", b"\x00\x01\xff")))
    return text(f"hello {request.value}")


def count(request, context):
    """A first message; the others once `go` was called."""
    yield text("0")
    going_on.wait(10)
    for n in range(1, int(request.value)):
        yield text(str(n))


def go(request, context):
    going_on.set()
    return text("")


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, f"no {request.value}: ä")


def fail_late(request, context):
    yield text("0")
    context.abort(grpc.StatusCode.DATA_LOSS, "lost")


def time_left(request, context):
    return text(f"{context.time_remaining():.0f}")


def metadata(request, context):
    return text("\n".join(f"{key}: {value}" for key, value in context.invocation_metadata()))


def unary(function):
    return grpc.unary_unary_rpc_method_handler(function, StringValue.FromString, StringValue.SerializeToString)


def stream(function):
    return grpc.unary_stream_rpc_method_handler(function, StringValue.FromString, StringValue.SerializeToString)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
methods = {
    "Greet": unary(greet),
    "Go": unary(go),
    "Fail": unary(fail),
    "TimeLeft": unary(time_left),
    "Metadata": unary(metadata),
    "Count": stream(count),
    "FailLate": stream(fail_late),
}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
