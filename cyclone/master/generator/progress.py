"""How far a generator has come: what makes it go on after a crash without a gap and without a repetition. PURE.

Recorded in the transaction that records the tasks which brought it there. Must not import anything of Cyclone: the
generator process and the journal share it.
"""

import msgspec


class GeneratorProgress(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the master has recorded of one generator.

    ``cursor`` is the msgpack of ``BaseTaskGenerator.cursor()``, empty for none; it was taken when ``cursor_pulled``
    tasks had been yielded by ``generate()`` and ``on_result`` had seen all results up to number ``cursor_consumed``.
    Since then ``generate()`` has yielded up to ``pulled`` tasks. ``on_result`` has seen all results up to the number
    ``consumed``, then ``consumed_rows`` results of the next block, and has made ``made`` tasks of the one after those.

    To go on: ``resume(cursor)``; yields are skipped until ``pulled``; results are delivered again from
    ``cursor_consumed`` + 1 on, and the tasks that ``on_result`` makes are skipped until that very place.
    """

    cursor: bytes = b""
    cursor_pulled: int = 0
    cursor_consumed: int = 0
    pulled: int = 0
    consumed: int = 0
    consumed_rows: int = 0
    made: int = 0
    exhausted: bool = False
