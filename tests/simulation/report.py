"""What a failing run shows: who holds what."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World


def dump(world: "World") -> str:
    """The master's sessions and spans, and what each living controller holds."""
    scheduler = world.master.scheduler
    state, window = scheduler.state, scheduler.state.lanes.window
    lines = [
        f"generator: produced={world.ledger.outputs.produced} of {world.script.total}, {state.progress}",
        f"master: alive={world.master.alive} epoch={state.epoch} open={state.open_tasks} "
        f"fresh={window.fresh_count} returned={window.returned_count} stored={window.stored_count} "
        f"delivered={scheduler.delivered} consumed={scheduler.consumed} catching_up={scheduler.catching_up} "
        f"awaited={state.awaited} former={state.sessions.former and state.sessions.former.open}",
    ]
    for session in state.sessions.by_id.values():
        lines.append(
            f"  session {session.session_id} {session.name} slots={session.slots} open={session.open} "
            f"granted={session.granted} sent={session.sent} tasks_seq={session.tasks_seq} "
            f"reachable={session.reachable} last_seen={session.last_seen:.2f}"
        )
        lines += [
            f"    span {s.first}+{s.count} open={s.open_count} attempt={s.attempt} seq={s.seq}" for s in session.spans
        ]
    for controller in world.controllers:
        if controller.alive:
            agent, link = controller.agent, controller.agent.link
            lines.append(
                f"{controller.name} incarnation {controller.number}: session={link.session and link.session.session} "
                f"queue={len(agent.crew.queue)} granted={link.granted} draining={agent.draining} "
                f"connected={controller.connection is not None} deadline={agent.deadline:.2f} "
                f"outbox={agent.outbox.held()}"
            )
            lines += [
                f"    slot {slot.worker} {slot.phase.value} taking_back={slot.taking_back} held={slot.held()}"
                for slot in agent.crew.slots
            ]
    return "\n".join(lines)
