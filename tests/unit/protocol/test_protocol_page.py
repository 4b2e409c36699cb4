"""docs/protocol.md, compared with the code: each message with its tag and its fields, each refusal, each limit."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cyclone.protocol import (
    client_messages,
    event_messages,
    figure_messages,
    job_messages,
    limits,
    messages,
    sink_messages,
)
from cyclone.security.roles import MAY_SEND
from tests.support.offenders import refuse

_MODULES = (messages, client_messages, job_messages, event_messages, figure_messages, sink_messages)
PAGE = Path(__file__).parents[3] / "docs" / "protocol.md"


def protocol_page() -> list[str]:
    return PAGE.read_text(encoding="utf-8").splitlines()


def messages_by_name() -> dict[str, type[msgspec.Struct]]:
    bases: tuple[type[msgspec.Struct], ...] = (
        *(messages.FromController, client_messages.FromClient, messages.FromMaster, client_messages.ToClient),
        *(sink_messages.ToSink, sink_messages.FromSink),
    )
    return {
        name: kind
        for module in _MODULES
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, bases) and kind not in bases
    }


def tag_of(kind: type[msgspec.Struct]) -> str | int | None:
    return kind.__struct_config__.tag


def test_given_the_messages_when_collected_then_none_shares_its_tag_with_another() -> None:
    tags = [tag_of(kind) for kind in messages_by_name().values()]
    assert tags
    assert len(set(tags)) == len(tags)


def test_given_a_message_then_a_line_of_the_protocol_page_has_its_name_and_tag() -> None:
    page = protocol_page()
    refuse(
        f"{name}, tag {tag_of(kind)}: not in docs/protocol.md"
        for name, kind in messages_by_name().items()
        if not any(re.search(rf"\b{name}\b", line) and re.search(rf"\b{tag_of(kind)}\b", line) for line in page)
    )


def test_given_a_message_then_its_row_in_the_protocol_page_has_its_fields_in_their_order() -> None:
    offenders = []
    for name, kind in messages_by_name().items():
        fields = [field.removesuffix("_s").replace("_", " ") for field in kind.__struct_fields__]
        rows = [line.split(" | ") for line in protocol_page() if line.startswith(f"| {tag_of(kind)} | `{name}` | ")]
        listed = [re.split(r", (?![^(]*\))", row[2]) for row in rows]
        matches = [
            len(cells) == len(fields) and all(cell.startswith(field) for cell, field in zip(cells, fields, strict=True))
            for cells in listed
        ]
        if matches != [True]:
            offenders.append(f"{name}: {listed} where {fields} belong")
    refuse(offenders)


def test_given_a_role_then_the_protocol_page_lists_the_tags_that_it_may_send() -> None:
    listed = {}
    for line in protocol_page():
        if row := re.match(r"\| `(\w+)` \| (?:tags|tags that only look:) ([\w ,]+?)(?:,? to a sink|;.*)? \|", line):
            parts = [part.split(" to ") for part in re.split(r", | and ", row[2])]
            listed[row[1]] = {tag for part in parts for tag in range(int(part[0]), int(part[-1]) + 1)}
    roles = {role for roles in MAY_SEND.values() for role in roles}
    assert listed == {role: {tag_of(kind) for kind, senders in MAY_SEND.items() if role in senders} for role in roles}


def test_given_a_refusal_then_the_protocol_page_says_when_and_what_follows() -> None:
    rows = [line.split(" | ") for line in protocol_page()]
    explained = {row[0].strip("| `") for row in rows if len(row) == 3}
    refuse(f"{code}: not in docs/protocol.md" for code in messages.REFUSALS if code not in explained)


def test_given_a_limit_then_a_line_of_the_protocol_page_has_its_name_and_value() -> None:
    def spellings(value: int) -> Iterator[str]:
        yield from (str(value), f"{value:,}")
        yield from (
            f"{value >> shift} {unit}" for shift, unit in ((10, "KiB"), (20, "MiB")) if value % (1 << shift) == 0
        )
        for power in (value.bit_length(), value.bit_length() - 1):
            for name, number in ((f"2^{power}", 1 << power), (f"2^{power} - 1", (1 << power) - 1)):
                if number == value:
                    yield name

    page = protocol_page()
    values = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert values
    refuse(
        f"{name} = {value}: not in docs/protocol.md"
        for name, value in values.items()
        if not any(
            re.search(rf"\b{name}\b", line) and re.search(rf"(?<![\w^])(?<!\d,){re.escape(text)}(?!\w|,\d)", line)
            for line in page
            for text in spellings(value)
        )
    )
