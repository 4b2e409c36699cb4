"""``cyclone bench --connect``: watch what a running master gets done. Owns the questions, and when they are asked."""

import argparse
import json
import time

from cyclone.bench import watching
from cyclone.cli import common, connecting
from cyclone.client.connection import Connection, find_address
from cyclone.errors import CycloneError
from cyclone.protocol.client_messages import StatusReport, StatusRequest

_SAMPLES = 20
_ANSWER_WAIT_S = 5.0


def watch(args: argparse.Namespace) -> int:
    """The verb's other half; returns the exit code. Raises Unreachable, CycloneError."""
    address = find_address(args.connect, None, args.key_file, args.insecure, words=connecting.words())
    samples = []
    with Connection(address, _ANSWER_WAIT_S) as connection:
        begun = time.monotonic()
        for number in range(_SAMPLES + 1):
            time.sleep(max(0.0, begun + number * args.seconds / _SAMPLES - time.monotonic()))
            asked = time.perf_counter()
            answer = connection.ask(StatusRequest(number + 1))
            assert isinstance(answer, StatusReport)
            samples.append(watching.sample(answer, time.monotonic(), (time.perf_counter() - asked) * 1e6))
    try:
        report = {"connect": str(address), **watching.of_samples(samples)}
    except ValueError as error:
        raise CycloneError(f"{address}: {error}: nothing was measured") from None
    if args.json:
        print(json.dumps(report))
    else:
        print(*watching.lines(report), sep="\n")
    return common.EXIT_OK
