"""``cyclone explain``: why a job, or a task of it, does not run."""

import argparse

from cyclone.cli import columns, common, connecting, output, selectors, show


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "explain",
        help="why a job or a task does not run",
        description="Say why a job, or one task of it, does not run: what matters most comes first.",
        epilog=f"Exit codes: 0 done, 1 there is none, {connecting.EXIT_CODES}.",
    )
    show.add_place(parser)
    output.add_json_option(parser)
    connecting.add_options(parser)


def explain(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        job_id = show.newest(client, args.place)
        job = client.detail(job_id).job
        assert job is not None
        # What has ended is told by what is listed: the master remembers reasons of open jobs only.
        if job.state not in selectors.ENDED_JOB_STATES:
            reasons = client.explain(job_id, args.place.number)
        elif args.place.number is None:
            counts = columns.TALLY.for_people(job.tasks) or "it had no tasks"
            reasons = [("ended", f"job {job_id} has ended: {job.state}; {counts}")]
        else:
            row = show.one_task(client, job_id, args.place.number).row
            error = f": {columns.error_text(row.error)}" if row.error else ""
            reasons = [("ended", f"task {job_id}.{row.index} has ended: {row.state}{error}")]
    if args.json:
        found = [{"code": code, "text": text} for code, text in reasons]
        output.print_json("cyclone.explanation/1", {"job": job_id, "index": args.place.number, "reasons": found})
    else:
        for _, text in reasons:
            output.write(columns.safe(text))
    return common.EXIT_OK
