"""The master's side of its clients, which decides nothing: requests, answers, followed results, printed output, events.

What is asked is decided in ``cyclone/master/jobs``.
"""
