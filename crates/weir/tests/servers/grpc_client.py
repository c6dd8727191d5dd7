"""A gRPC client that goes through the gateway at ADDRESS and says on one line what it got: `grpc_client.py ADDRESS CASE`."""

import sys
import threading
import time

import grpc

address, case = sys.argv[1:3]
channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
unary = lambda name: channel.unary_unary(f"/t.T/{name}")
METADATA = (("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\0\xff"))


def failure(call, **options):
    try:
        call(**options)
    except grpc.RpcError as error:
        return error
    raise SystemExit("it did not fail")


def is_true(what, fact):
    if not fact:
        raise SystemExit(f"{case}: {what}")


if case == "unary":
    for body in (b"", b"hello", b"x" * 1_000_000):
        answer, call = unary("Echo").with_call(body, metadata=METADATA, timeout=10)
        is_true("the message", answer == body)
        trailing = [(k, v) for k, v in call.trailing_metadata() if k.startswith("x-")]
        # What is binary may be joined into one value on its way; the order of the others stays.
        is_true(f"trailing metadata: {trailing}", [t for t in trailing if t[0] == "x-a"] == list(METADATA[:2]))
        is_true(f"binary metadata: {trailing}", ("x-b-bin", b"\0\xff") in trailing)
elif case == "fail":
    error = failure(unary("Fail"), request=b"", timeout=10)
    is_true(error, error.code() == grpc.StatusCode.NOT_FOUND and error.details() == "50% of über")
    trailing = [pair for pair in error.trailing_metadata() if pair[0].startswith("x-")]
    is_true(trailing, trailing == [("x-why-bin", b"\0\1\2"), ("x-why", "one"), ("x-why", "two")])
elif case == "down":
    for count in (0, 1, 3, 100_000):
        got = list(channel.unary_stream("/t.T/Down")(b"%d" % count, timeout=60))
        is_true(f"{count} messages: {len(got)}", got == [b"%d" % n for n in range(count)])
elif case == "up":
    sizes = [0, 1, 70_000, 5]
    answer = channel.stream_unary("/t.T/Up")((b"x" * size for size in sizes), timeout=10)
    is_true(answer, answer == b"0 1 70000 5")
elif case == "both":
    # Each answer is awaited before the next message is sent: nothing on the way may hold one back.
    turn = threading.Semaphore(1)

    def messages():
        for n in range(50):
            turn.acquire()
            yield b"%d" % n

    for n, answer in enumerate(channel.stream_stream("/t.T/Both")(messages(), timeout=10)):
        is_true(f"{answer} is not {n}", answer == b"%d" % n)
        turn.release()
elif case == "deadline":
    left = int(unary("Left")(b"", timeout=5))
    is_true(f"{left} ms are left", 3_000 < left <= 5_000)
    error = failure(lambda: list(channel.unary_stream("/t.T/Wait")(b"", timeout=0.2)))
    is_true(error, error.code() == grpc.StatusCode.DEADLINE_EXCEEDED)
elif case == "shortened":
    left = unary("Left")(b"", timeout=60)
    is_true(f"{left} ms are left", int(left) <= 2_000)
elif case == "none":
    left = unary("Left")(b"")
    is_true(f"{left} ms are left", left == b"none" or int(left) > 3_600_000)
elif case == "late":
    error = failure(lambda: list(channel.unary_stream("/t.T/Wait")(b"")))
    is_true(error, error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL))
elif case == "cancel":
    before = int(unary("Cancelled")(b"", timeout=10))
    call = channel.unary_stream("/t.T/Wait")(b"")
    next(call)
    call.cancel()
    until = time.monotonic() + 1
    while int(unary("Cancelled")(b"", timeout=10)) == before:
        is_true("the endpoint did not hear of it within a second", time.monotonic() < until)
        time.sleep(0.02)
elif case == "load":
    for n in range(300):
        is_true("an answer", unary("Echo")(b"%d" % n, timeout=10) == b"%d" % n)
else:
    error = failure(unary("Echo"), request=b"x", timeout=10)
    print(error.code().name, error.details())
    raise SystemExit(0)
print("ok")
