#!/usr/bin/env python3
"""The line protocol in Python: "add" and "count", as in the other languages of this folder.

Its tasks are tasks.line_protocol:LineTask; docs/line-protocol.md is the contract.
"""

import json
import sys

calls = 0


def add(a, b):
    if not all(type(value) is int for value in (a, b)):
        raise TypeError
    return {"sum": a + b}


def count():
    return {"calls": calls}


TASKS = {"add": (add, 2), "count": (count, 0)}


def answer(line):
    name, arguments = json.loads(line)[:2]
    if name not in TASKS:
        return {"error": "no_such_task"}
    function, parameters = TASKS[name]
    if len(arguments) != parameters:
        return {"error": "invalid_param_count"}
    try:
        return function(*arguments)
    except TypeError:
        return {"error": "invalid_data_format"}


for line in sys.stdin:
    calls += 1
    # Flushed, or the answer would wait in a buffer while Cyclone waits for it.
    print(json.dumps(answer(line)), flush=True)
