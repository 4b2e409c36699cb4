"""The generator of the configuration: its process, the pipe to it, and what the master does for its order and its life.

``generator_process`` runs user code, and so reaches neither ZeroMQ nor a journal. ``progress`` is PURE, for the events.
"""
