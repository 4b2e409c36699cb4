"""One message of each kind with the bytes of its body: whoever changes the wire sees it here, as a diff.

The bytes are msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md); blanks part the fields.
"""

from cyclone.protocol.client_messages import (
    Answer,
    CancelRequest,
    ControllerStatus,
    DrainRequest,
    StatusReport,
    StatusRequest,
)
from cyclone.protocol.job_messages import AnyFromClient, AnyToClient
from cyclone.protocol.messages import (
    AnyFromController,
    AnyFromMaster,
    Cancel,
    FetchOutput,
    Goodbye,
    Hello,
    Job,
    Offer,
    Output,
    Pong,
    Recall,
    Recorded,
    Refused,
    ResultBatch,
    Results,
    Returned,
    State,
    Stop,
    Stopped,
    TaskBatch,
    TaskRange,
    Tasks,
    Welcome,
)
from cyclone.protocol.sink_messages import AnyFromSink, AnyToSink, Attach, Attached, Blocks, Stored
from tests.support import golden_job_messages

INCARNATION = "0123456789abcdef" * 2
JOURNAL_ID = "fedcba9876543210" * 2

OFFER = Offer(("night",), ("gpu",), 4096, {"tape": 2}, by_value=True)

FROM_CONTROLLER: list[tuple[AnyFromController, str]] = [
    (
        Hello(1, "c1", INCARNATION, "", 1, "node", 11, "1.0", "3.11.2", 2, [TaskRange(1, 300, 7, 2)], OFFER),
        "9d 01 01 a26331 d9203031323334353637383961626364656630313233343536373839616263646566 a0 01 a46e6f6465 0b"
        " a3312e30 a6332e31312e32 02 919401cd012c0702 9591a56e6967687491a3677075cd100081a47461706502c3",
    ),
    (
        State(5, 2, 1, 9, 2, 1, [TaskRange(1, 4, 7, 1), TaskRange(9, 1, 7, 2)], [TaskRange(1, 1, 7, 1)], 1),
        "9a 02 05 02 01 09 02 01 9294010407019409010702 919401010701 01",
    ),
    (
        Results(5, 1, 9, [ResultBatch(1, 7, 1, b"\0\1", b"\x97", 0.5)]),
        "95 03 05 01 09 9196010701c4020001c40197cb3fe0000000000000",
    ),
    (
        Returned(5, 9, [TaskRange(3, 2, 7, 1)], [Stopped(3, 7, 1, 99, 2.0, 1.5)]),
        "95 04 05 09 919403020701 9196 03 07 01 63 cb4000000000000000 cb3ff8000000000000",
    ),
    (
        Goodbye(5, "stopped"),
        "93 05 05 a773746f70706564",
    ),
    (
        Output(5, 9, 3, 1, 10, [(1, b"hi"), (2, b"\xff")], 13, True, "x"),
        "9a 06 05 09 03 01 0a 92 9201c4026869 9202c401ff 0d c3 a178",
    ),
]
FROM_CLIENT: list[tuple[AnyFromClient, str]] = [
    (StatusRequest(1), "92 ccc9 01"),
    (CancelRequest(2, 17, 42, "m:A", "queued"), "96 ccca 02 11 2a a36d3a41 a6717565756564"),
    (DrainRequest(3, "c1", True), "94 cccb 03 a26331 c3"),
    *golden_job_messages.FROM_CLIENT,
]
FROM_MASTER: list[tuple[AnyFromMaster, str]] = [
    (
        Welcome(5, INCARNATION, 7, JOURNAL_ID, 1.0, 15.0, [TaskRange(1, 4, 6, 1)]),
        "98 65 05 d9203031323334353637383961626364656630313233343536373839616263646566 07 "
        "d9206665646362613938373635343332313066656463626139383736353433323130 cb3ff0000000000000 "
        "cb402e000000000000 919401040601",
    ),
    (
        Tasks(
            5,
            1,
            3,
            [
                Job(1, "m:A"),
                Job(2, "m:B", 2.5, 3, 0.5, ("OSError", "m.E"), exclusive=True),
                Job(
                    3,
                    "m:C",
                    None,
                    0,
                    1.0,
                    (),
                    False,
                    b"\x91\x07",
                    2,
                    (0.0, 0.5, 1.0),
                    {"A": "b"},
                    "/d",
                    True,
                    "n",
                    "night",
                ),
            ],
            [
                TaskBatch(1, 1, [(1, 1), (2, 1)], [b"\x90", b"\x91\x2a"], [(1, 2.5)]),
                TaskBatch(9, 3, [(1, 1)], [b"\x90"]),
            ],
        ),
        "96 66 05 01 03 939f01a36d3a41c000cb3ff000000000000090c2c4000193cb0000000000000000cb0000000000000000cb000"
        "000000000000080a0c2a0a09f02a36d3a42cb400400000000000003cb3fe000000000000092a74f534572726f72a36d2e45c3c40"
        "00193cb0000000000000000cb0000000000000000cb000000000000000080a0c2a0a09f03a36d3a43c000cb3ff00000000000009"
        "0c2c40291070293cb0000000000000000cb3fe0000000000000cb3ff000000000000081a141a162a22f64c3a16ea56e69676874 "
        "929501019292010192020192c40190c402912a919201cb40040000000000009509039192010191c4019090",
    ),
    (Recorded(5, [1, 300]), "93 67 05 9201cd012c"),
    (Recall(5, 3), "93 68 05 03"),
    (Pong(5, 2, 1, 3, 2.0), "96 69 05 02 01 03 cb4000000000000000"),
    (Stop(5, "done"), "93 6a 05 a4646f6e65"),
    (Refused("no_session", "", "session 5"), "94 6b aa6e6f5f73657373696f6e a0 a973657373696f6e2035"),
    (Cancel(5, [TaskRange(3, 2, 7, 1), TaskRange(9, 1, 7, 2)]), "93 6c 05 92940302070194090107 02"),
    (FetchOutput(5, 9, 3, 0, 10, 4096, 2.5), "98 6d 05 09 03 00 0a cd1000 cb4004000000000000"),
]
TO_CLIENT: list[tuple[AnyToClient, str]] = [
    (
        StatusReport(
            request=1,
            version="1.0",
            journal="off",
            epoch=7,
            tasks={"queued": 3, "leased": 300},
            pulled=400,
            exhausted=True,
            stopping=False,
            awaited=["c2"],
            controllers=[ControllerStatus("c1", "node", 2, 300, 0.5, "drained", 1, OFFER, "1.0", "3.11.2", 2)],
            qos={"low": (-100, 0.5)},
        ),
        "9c cd012d 01 a3312e30 a36f6666 07 82a671756575656403a66c6561736564cd012c cd0190 c3 c2 91a26332 919ba2633"
        "1a46e6f646502cd012ccb3fe0000000000000a7647261696e6564019591a56e6967687491a3677075cd100081a47461706502c3a"
        "3312e30a6332e31312e3202 81a36c6f77 92 d09c cb3fe0000000000000",
    ),
    (
        Answer(2, False, 0, "known:", ["c1"], "not_allowed"),
        "97 cd012e 02 c2 00 a66b6e6f776e3a 91a26331 ab6e6f745f616c6c6f776564",
    ),
    *golden_job_messages.TO_CLIENT,
]
_JOURNAL_ID = "d9206665646362613938373635343332313066656463626139383736353433323130"
TO_SINK: list[tuple[AnyToSink, str]] = [
    (Attach(JOURNAL_ID, "node", "3.0", True), f"95 cd0191 {_JOURNAL_ID} a46e6f6465 a3332e30 c3"),
    (Blocks(JOURNAL_ID, 7, [b"\x98", b""]), f"94 cd0192 {_JOURNAL_ID} 07 92c40198c400"),
]
FROM_SINK: list[tuple[AnyFromSink, str]] = [
    (Attached(JOURNAL_ID, 6), f"93 cd01f5 {_JOURNAL_ID} 06"),
    (Stored(JOURNAL_ID, 8, "no room"), f"94 cd01f6 {_JOURNAL_ID} 08 a76e6f20726f6f6d"),
]
