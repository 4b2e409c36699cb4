"""A target finds out by itself how many streams it bears."""

from cyclone.lustre.stream_window import FIXED_BYTES, StreamWindow


def feed(window: StreamWindow, slowness: float, moves: int) -> int:
    for _ in range(moves):
        window.finished(slowness * (FIXED_BYTES + 1000) / 1e9, 1000)
    return window.limit


def test_given_latency_that_stays_flat_then_it_grows_to_its_bound_and_no_further() -> None:
    window = StreamWindow.adaptive(4)
    assert window.limit == 1
    assert feed(window, 1.0, 100) == 4


def test_given_latency_that_inflates_then_it_is_halved_and_comes_back_when_that_is_over() -> None:
    window = StreamWindow.adaptive(8)
    feed(window, 1.0, 200)
    assert feed(window, 4.0, 17) == 4
    assert feed(window, 4.0, 100) == 1
    assert feed(window, 1.0, 400) == 8


def test_given_larger_files_that_take_longer_then_that_is_no_inflation() -> None:
    window = StreamWindow.adaptive(4)
    for size in [0, 1 << 40] * 60:
        window.finished((FIXED_BYTES + size) / 1e9, size)
    assert window.limit == 4


def test_given_a_fixed_number_then_nothing_changes_it() -> None:
    window = StreamWindow.fixed(2)
    assert feed(window, 1.0, 50) == 2
    assert feed(window, 9.0, 50) == 2
