"""Calls a rate limit service with messages in JSON, one a line, and prints each answer as a line of JSON.

The stubs are those of envoy-data-plane, the transport is that of grpcio: nothing here is the gateway's.
"""

import json
import sys

import grpc
from envoy_data_plane.envoy.service.ratelimit.v3 import RateLimitRequest, RateLimitServiceSyncStub

channel = grpc.insecure_channel(sys.argv[1])
stub = RateLimitServiceSyncStub(channel)
method = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"


def answer(line):
    try:
        call = json.loads(line)
        if "raw" in call:
            # Bytes in place of a message, and any answer as its length.
            if call.get("streams"):
                received = channel.unary_stream(call["method"], lambda it: it, lambda it: it)(b"", timeout=10)
                first = next(received).hex()
                received.cancel()
                return {"first": first}
            send = channel.unary_unary(call.get("method", method), lambda it: it, lambda it: it)
            return {"length": len(send(b"\xff" * call["raw"], timeout=10))}
        return json.loads(stub.should_rate_limit(RateLimitRequest.from_dict(call)).to_json())
    except grpc.RpcError as error:
        return {"error": error.code().name, "details": error.details()}


for line in sys.stdin:
    print(json.dumps(answer(line)), flush=True)
