"""One message about jobs of each kind with the bytes of its body, as ``golden_messages`` has the others."""

from cyclone.protocol.event_messages import EventsReport, EventsRequest, Happening
from cyclone.protocol.figure_messages import FiguresReport, FiguresRequest, TaskFigures
from cyclone.protocol.job_messages import (
    AddRequest,
    AnyFromClient,
    AnyToClient,
    CancelJobsRequest,
    ControlRequest,
    DetailRequest,
    ExplainRequest,
    Explanation,
    FollowRequest,
    JobBlock,
    JobDetail,
    JobResults,
    JobsReport,
    JobsRequest,
    JobSummary,
    NamespaceRequest,
    NamespacesReport,
    NamespacesRequest,
    NamespaceSummary,
    OutputAnswer,
    OutputRequest,
    ProcessedRequest,
    RequeueRequest,
    SubmitRequest,
    Submitted,
    TaskRow,
    TasksReport,
    TasksRequest,
)
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace, TaskBlock

KEY = bytes(range(16))
SUMMARY = JobSummary(300, "scan", "night", "ann", "running", "m:A", -5, 1e9, 0.0, True, {"queued": 2}, "s1", {"k": "v"})

FROM_CLIENT: list[tuple[AnyFromClient, str]] = [
    (
        SubmitRequest(
            4,
            KEY,
            JobSpec(task_class="m:A", shared=b"\x91\x07", priority=-5, limits={"ost": 17}),
            TaskBlock(0, [b"\x90", b"\x90"], [(1, 1e9, 2.5)]),
            sealed=True,
        ),
        "96 cccc 04 c410000102030405060708090a0b0c0d0e0f "
        "de0004aa7461736b5f636c617373a36d3a41a6736861726564c4029107a87072696f72697479fba66c696d69747381a36f737411"
        " 930092c40190c40190919301cb41cdcd6500000000cb4004000000000000 c3",
    ),
    (
        AddRequest(5, 300, TaskBlock(2, [b"\x90"]), sealed=False),
        "96 cccd 05 cd012c 930291c4019090 c2 c2",
    ),
    (
        JobsRequest(6, JobSelection(ids=[(1, 3), (5, 5)], states=("running",)), 100, 300),
        "95 ccce 06 82a369647392920103920505a673746174657391a772756e6e696e67 64 cd012c",
    ),
    (
        TasksRequest(7, 300, 10, 100, ("failed",), with_args=True),
        "98 cccf 07 cd012c 0a 64 91a66661696c6564 c3 c2",
    ),
    (
        DetailRequest(8, 300, with_shared=True),
        "94 ccd0 08 cd012c c3",
    ),
    (
        ExplainRequest(9, 300, 2),
        "94 ccd1 09 cd012c 02",
    ),
    (
        ControlRequest(10, JobSelection(last=True), "hold"),
        "94 ccd2 0a 81a46c617374c3 a4686f6c64",
    ),
    (
        CancelJobsRequest(11, JobSelection(namespace="night"), [(0, 9)], ("queued",), "too late", dry_run=True),
        "97 ccd3 0b 81a96e616d657370616365a56e69676874 91920009 91a6717565756564 a8746f6f206c617465 c3",
    ),
    (
        RequeueRequest(12, 300, [(2, 2)]),
        "94 ccd4 0c cd012c 91920202",
    ),
    (
        NamespaceRequest(13, "set", Namespace(name="night", weight=0.5, jobs_max=10)),
        "94 ccd5 0d a3736574 83a46e616d65a56e69676874a6776569676874cb3fe0000000000000a86a6f62735f6d61780a",
    ),
    (
        NamespacesRequest(14),
        "92 ccd6 0e",
    ),
    (
        FollowRequest(15, 300, 7, 1048576, resume=True, consume=True),
        "97 ccd7 0f cd012c 07 ce00100000 c3 c3",
    ),
    (
        ProcessedRequest(16, 300, [(0, 9)]),
        "94 ccd8 10 cd012c 91920009",
    ),
    (
        OutputRequest(17, 300, 4, 0, 10, 4096, 2.5),
        "98 ccd9 11 cd012c 04 00 0a cd1000 cb4004000000000000",
    ),
    (
        EventsRequest(18, 3, 4096, 100),
        "95 ccda 12 03 cd1000 64",
    ),
    (
        FiguresRequest(19, 300, 10, 20),
        "95 ccdb 13 cd012c 0a 14",
    ),
]
TO_CLIENT: list[tuple[AnyToClient, str]] = [
    (
        Submitted(4, 300, 2, True, 1000, 7, "busy", "later"),
        "99 cd012f 04 cd012c 02 c3 cd03e8 07 a462757379 a56c61746572",
    ),
    (
        JobsReport(6, [SUMMARY], 17),
        "94 cd0130 06 919dcd012ca47363616ea56e69676874a3616e6ea772756e6e696e67a36d3a41fbcb41cdcd6500000000cb00000"
        "00000000000c381a671756575656402a2733181a16ba176 11",
    ),
    (
        TasksReport(7, [TaskRow(10, 17, "failed", 2, "c1", 1e9, 0.5, 0.25, 4096, "E: no", b"\x90", b"")], 11),
        "94 cd0131 07 91dc00110a11a66661696c656402a26331cb41cdcd6500000000cb3fe0000000000000cb3fd0000000000000cd1000a"
        "5453a206e6fc40190c400 c0c0 cb0000000000000000 a0 c400 0b",
    ),
    (
        JobDetail(8, SUMMARY, JobSpec(task_class="m:A", tags={"k": "v"}), [("E: no", 3, 10)], "held"),
        "96 cd0132 08 9dcd012ca47363616ea56e69676874a3616e6ea772756e6e696e67a36d3a41fbcb41cdcd6500000000cb0000000"
        "000000000c381a671756575656402a2733181a16ba176 de0002aa7461736b5f636c617373a36d3a41a47461677381a16ba176 "
        "9193a5453a206e6f030a a468656c64",
    ),
    (
        Explanation(9, [("held", "job 300 is held")]),
        "93 cd0133 09 9192a468656c64af6a6f62203330302069732068656c64",
    ),
    (
        NamespacesReport(14, [NamespaceSummary(Namespace(name="night", paused=True), 1, {"queued": 2}, 0.5)]),
        "93 cd0134 0e 919482a46e616d65a56e69676874a6706175736564c30181a671756575656402cb3fe0000000000000",
    ),
    (
        JobResults(15, 300, 7, 9, [JobBlock(0, 17, 1, b"\0\1", b"\1\0", b"\x98", "c1")], True, 3),
        "98 cd0135 0f cd012c 07 09 9197001101c4020001c4020100c40198a26331 c3 03",
    ),
    (
        OutputAnswer(17, 1, 10, [(1, b"hi")], 12, False, "running", "c1", "x", True),
        "9b cd0136 11 01 0a 919201c4026869 0c c2 a772756e6e696e67 a26331 a178 c3",
    ),
    (
        EventsReport(
            18, 3, 1, 2, [Happening(2, 1e9, "job_ended", "ann", 300, "night", "scan", "c1", {"failed": 2}, "", True)]
        ),
        "96 cd0137 12 03 01 02 919b02cb41cdcd6500000000a96a6f625f656e646564a3616e6ecd012ca56e69676874a47363616ea2"
        "633181a66661696c656402a0c3",
    ),
    (
        FiguresReport(
            19,
            TaskFigures({"failed": 1}, 2, ["c1"], 1, 0.5, 0.5, 0.5, 0.25, 4096, 1e9, 1e9, [("E: no", 1, 10)]),
            11,
        ),
        "94 cd0138 13 9c81a66661696c65640102"
        "91a2633101cb3fe0000000000000cb3fe0000000000000cb3fe0000000000000cb3fd0000000000000"
        "cd1000cb41cdcd6500000000cb41cdcd65000000009193a5453a206e6f010a 0b",
    ),
]
