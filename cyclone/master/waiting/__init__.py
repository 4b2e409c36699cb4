"""The tasks that wait: in lanes, on shelves, by namespaces' shares; and which lane a controller gets next. All PURE.

Knows controllers by what their sessions say they can do, and nothing of why a task waits or what becomes of it.
"""
