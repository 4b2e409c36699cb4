"""What lfs prints, in all its dialects, and what is made of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclone.lustre.parsing import (
    Layout,
    Target,
    parse_check_osts,
    parse_df,
    parse_fid_path,
    parse_layout,
    parse_mdt_index,
)
from tests.support.lustre import used_percent
from tests.unit.lustre.golden_files import FOLDER, LAYOUTS, TIB, golden

DEVICE = "osc-ffff8ea7b7a28000"


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def test_given_the_golden_files_then_they_are_what_the_fake_prints_today(tmp_path: Path) -> None:
    made = golden(tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == made, (
        "after a wanted change of the fake: python -m tests.unit.lustre.golden_files"
    )


# lfs check osts


def test_given_784_osts_then_each_has_its_state_and_the_missing_one_has_none() -> None:
    states = parse_check_osts(text_of("check_osts"), "lustrefs")
    assert sorted(states) == [index for index in range(784) if index != 300]
    assert {index for index, state in states.items() if state != "active"} == {5}
    assert states[5] == "inactive"


@pytest.mark.parametrize(
    ("line", "state"),
    [
        (f"lustrefs-OST000a-{DEVICE} active.", "active"),
        (f"lustrefs-OST000a-{DEVICE} active", "active"),
        (f"lustrefs-OST000a-{DEVICE} inactive.", "inactive"),
        (f"lustrefs-OST000a-{DEVICE}    active.   ", "active"),
        (f"lustrefs-OST000a-{DEVICE} in recovery.", "in recovery"),
        (
            f"lfs check: error: check 'lustrefs-OST000a-{DEVICE}': Cannot send after transport endpoint shutdown (108)",
            "Cannot send after transport endpoint shutdown",
        ),
        (
            f"error: check 'lustrefs-OST000a-{DEVICE}': Resource temporarily unavailable (-11)",
            "Resource temporarily unavailable",
        ),
        (f"error: check 'lustrefs-OST000a-{DEVICE}'", "unknown"),
    ],
)
def test_given_a_line_about_an_ost_then_its_state_is_what_lfs_says(line: str, state: str) -> None:
    assert parse_check_osts(f"some news of a later release\n{line}\n", "lustrefs") == {10: state}


def test_given_several_file_systems_and_mdts_then_only_the_osts_of_the_one_count() -> None:
    text = (
        f"lustrefs-MDT0002-mdc-ffff active.\nlustre-OST0001-{DEVICE} active.\n"
        f"lustrefs-OST0002-{DEVICE} inactive.\nlustrefs-2-OST0003-{DEVICE} active.\n"
    )
    assert parse_check_osts(text, "lustrefs") == {2: "inactive"}
    assert parse_check_osts(text, "lustre") == {1: "active"}
    assert parse_check_osts(text, "lustrefs-2") == {3: "active"}


@pytest.mark.parametrize("order", [("active", "inactive"), ("inactive", "active")])
def test_given_a_file_system_mounted_twice_then_an_ost_is_active_only_if_it_is_for_both(order: tuple[str, str]) -> None:
    text = "".join(f"lustrefs-OST0001-osc-ffff{at} {state}.\n" for at, state in enumerate(order))
    assert parse_check_osts(text, "lustrefs") == {1: "inactive"}


def test_given_another_file_system_alone_then_the_error_names_it() -> None:
    with pytest.raises(ValueError, match="'lustrefs'.*only of other"):
        parse_check_osts(f"other-OST0001-{DEVICE} active.", "lustrefs")


# lfs df


def test_given_784_osts_then_their_fill_levels_are_those_of_the_percentages() -> None:
    targets = parse_df(text_of("df"))
    assert [target.kind for target in targets[:4]] == ["MDT", "MDT", "MDT", "OST"]
    osts = {target.index: target for target in targets if target.kind == "OST"}
    # One is inactive and one is missing.
    assert len(osts) == 782
    assert osts[783].name == "OST030f"
    assert osts[783].flags == {"degraded", "read_only"}
    assert osts[100].flags == {"degraded"}
    assert used_percent(osts[12]) == pytest.approx(97)
    assert used_percent(osts[0]) == pytest.approx(34)
    assert osts[0].size_bytes == 66 * TIB
    assert osts[0].used_bytes + osts[0].available_bytes == 66 * TIB


def test_given_the_verbose_form_then_the_inactive_one_is_there_without_sizes() -> None:
    [inactive] = [target for target in parse_df(text_of("df_verbose")) if target.flags == {"inactive"}]
    assert inactive == Target("OST", 5, "OST0005", flags=frozenset({"inactive"}))


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (
            "lustrefs-OST030f_UUID    71145357312 24541020160 46604329984  35% /lustre[OST:783]",
            Target("OST", 783, "OST030f", 71145357312 * 1024, 24541020160 * 1024, 46604329984 * 1024),
        ),
        (
            "fs-OST0000_UUID 100 0 100   0% /mnt/my\x0clustre\x85[OST:0]",
            Target("OST", 0, "OST0000", 102400, 0, 102400),
        ),
        (
            "fs-OST0001_UUID 100 100 0 100% /l[OST:1] DRNSI",
            Target(
                "OST",
                1,
                "OST0001",
                102400,
                102400,
                0,
                frozenset({"degraded", "read_only", "no_create", "no_space", "no_inodes"}),
            ),
        ),
        (
            "fs-OST0001_UUID 100 100 0 100% /l[OST:1] fX",
            Target("OST", 1, "OST0001", 102400, 102400, 0, frozenset("X") | {"flash"}),
        ),
        ("fs-OST0001_UUID 3.6T 1.5G 512 1% /l[OST:1]", Target("OST", 1, "OST0001", 3958241859994, 1610612736, 524288)),
        ("OST0003             : inactive device", Target("OST", 3, "OST0003", flags=frozenset({"inactive"}))),
        ("fs-OST00ff_UUID     : inactive device", Target("OST", 255, "OST00ff", flags=frozenset({"inactive"}))),
        ("fs-OST0002_UUID: Input/output error", Target("OST", 2, "OST0002", flags=frozenset({"unavailable"}))),
    ],
)
def test_given_a_line_of_df_then_it_is_this_target(line: str, target: Target) -> None:
    head = "UUID                   1K-blocks        Used   Available Use% Mounted on"
    assert parse_df(f"{head}\n{line}\nfilesystem_summary: 1 2 3 4% /lustre\n") == [target]


def test_given_sizes_for_people_then_the_unit_of_the_heading_counts() -> None:
    [target] = parse_df("UUID  bytes  Used  Available Use% Mounted on\nfs-OST0001_UUID 2.0K 512 1.5K 25% /l[OST:1]\n")
    assert (target.size_bytes, target.used_bytes, target.available_bytes) == (2048, 512, 1536)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no OST"),
        ("filesystem_summary:  50824855993344 17157703314432 33667097622528  34% /lustre\n", "no OST"),
        ("UUID  Inodes  IUsed  IFree IUse% Mounted on\nfs-OST0001_UUID 9 1 8 12% /l[OST:1]\n", "inodes"),
    ],
)
def test_given_what_is_no_list_of_targets_then_it_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_df(text)


# lfs getstripe

EXPECTED = {
    "plain": Layout(1, (542,)),
    "wide": Layout(3, (6, 7, 783)),
    "released": Layout(1, (), released=True),
    # The third component has not been written to.
    "pfl": Layout(2, (1, 3, 4), component_count=3),
    "dom": Layout(1, (9,), component_count=2, has_mdt_component=True),
    "flr": Layout(1, (2, 10), mirror_count=2, component_count=2),
}


@pytest.mark.parametrize("form", ["", "_yaml"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_given_a_layout_then_both_forms_of_lfs_tell_the_same(name: str, form: str) -> None:
    assert parse_layout(text_of(f"getstripe_{name}{form}")) == EXPECTED[name]


@pytest.mark.parametrize(
    ("name", "layout"),
    [("plain", Layout(1, (542,))), ("wide", Layout(3, (6,))), ("pfl", Layout(2, (3,))), ("dom", Layout(1, (9,)))],
)
def test_given_count_and_index_alone_then_they_are_read_also_of_a_composite_file(name: str, layout: Layout) -> None:
    assert parse_layout(text_of(f"getstripe_{name}_some")) == layout


def test_given_the_older_composite_form_with_dashes_then_it_is_read_too() -> None:
    text = (
        "f\ncomposite_header:\n  lcm_magic:         0x0BD60BD0\n  lcm_mirror_count:  1\n  lcm_entry_count:   2\n"
        "components:\n"
        "  - lcme_id:             1\n    lcme_flags:          0x10\n    sub_layout:\n"
        "      lmm_magic:         0x0BD10BD0\n      lmm_stripe_count:  2\n      lmm_stripe_size:   1048576\n"
        "      lmm_pattern:       raid0\n      lmm_stripe_offset: 4\n      lmm_pool:          ssd\n"
        "      lmm_objects:\n"
        "      - 0: { l_ost_idx: 4, l_fid: [0x100000000:0x2:0x0] }\n"
        "      - 1: { l_ost_idx: 4, l_fid: [0x100000000:0x3:0x0] }\n\n"
        "  - lcme_id:             2\n    lcme_flags:          0\n    sub_layout:\n"
        "      lmm_stripe_count:  -1\n      lmm_stripe_size:   1048576\n      lmm_stripe_offset: -1\n"
    )
    assert parse_layout(text) == Layout(2, (4,), component_count=2)


@pytest.mark.parametrize(
    ("pattern", "released", "on_mdt"),
    [
        ("raid0", False, False),
        ("raid0,overstriped", False, False),
        ("raid0,released", True, False),
        ("80000001", True, False),
        ("mdt", False, True),
        ("100", False, True),
        ("1", False, False),
    ],
)
def test_given_a_pattern_also_without_a_name_then_it_says_where_the_data_is(
    pattern: str, released: bool, on_mdt: bool
) -> None:
    layout = parse_layout(f"lmm_stripe_count:  1\nlmm_pattern:       {pattern}\nlmm_stripe_offset: 3\n")
    assert (layout.released, layout.has_mdt_component) == (released, on_mdt)
    assert layout.stripe_count == (0 if on_mdt else 1)
    # What it says of an offset is no OST there.
    assert layout.ost_indices == (() if released or on_mdt else (3,))


def test_given_a_file_without_objects_then_it_has_no_stripes() -> None:
    assert parse_layout("/lustre/a b has no stripe info\n") == Layout(0, ())


@pytest.mark.parametrize(
    "text", ["", "1\n", "/lustre/folder\nstripe_count:  1 stripe_size:   1048576 pattern: raid0 stripe_offset: -1\n"]
)
def test_given_no_layout_of_a_file_then_it_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no layout"):
        parse_layout(text)


# lfs getdirstripe, lfs fid2path


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("0\n", 0),
        ("12\n", 12),
        ("lmv_stripe_count: 2 lmv_stripe_offset: 3 lmv_hash_type: fnv_1a_64\nmdtidx\t\t FID[seq:oid:ver]\n", 3),
        ("/lustre/dir\nlmv_stripe_count: 0 lmv_stripe_offset: 1 lmv_hash_type: none\n", 1),
    ],
)
def test_given_the_stripes_of_a_folder_then_its_mdt_is_found(text: str, index: int) -> None:
    assert parse_mdt_index(text) == index


def test_given_no_mdt_then_it_is_refused() -> None:
    with pytest.raises(ValueError, match="no MDT"):
        parse_mdt_index("/lustre/dir\n")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/lustre/a/b\n", "/lustre/a/b"),
        ("a/b\n", "/lustre/a/b"),
        ("/lustre/with\nfeed\n", "/lustre/with\nfeed"),
        ("/lustre/\udcff \n", "/lustre/\udcff "),
    ],
)
def test_given_a_path_then_it_is_absolute_and_exact(text: str, path: str) -> None:
    assert parse_fid_path(text, "/lustre") == path


def test_given_no_path_then_it_is_refused() -> None:
    with pytest.raises(ValueError, match="no path"):
        parse_fid_path("\n", "/lustre")


# Anything at all

LINES = st.one_of(
    st.text(max_size=30),
    st.sampled_from([line for name in ("getstripe_pfl", "getstripe_wide_yaml") for line in text_of(name).split("\n")]),
    st.sampled_from(text_of("df_verbose").split("\n")[:12]),
    st.sampled_from(text_of("check_osts").split("\n")[:12]),
    st.builds(
        "{}_{}: {}".format,
        st.sampled_from(["lmm", "lcm", "lcme"]),
        st.sampled_from(["stripe_count", "stripe_offset", "mirror_count", "id", "pattern", "flags"]),
        st.one_of(st.integers().map(str), st.text(max_size=10)),
    ),
)


@given(st.lists(LINES, max_size=12).map("\n".join))
def test_given_any_text_then_there_is_a_value_or_a_valueerror(text: str) -> None:
    for parse in (
        parse_df,
        parse_layout,
        parse_mdt_index,
        lambda text: parse_check_osts(text, "lustrefs"),
        lambda text: parse_fid_path(text, "/lustre"),
    ):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40))
def test_given_any_text_among_the_lines_of_df_then_the_targets_are_found_all_the_same(noise: str) -> None:
    lines = text_of("df").split("\n")
    quiet = parse_df("\n".join(lines[:20]))
    noisy = [line for pair in zip(lines[:20], [f"# {noise}"] * 20, strict=True) for line in pair]
    assert [target for target in parse_df("\n".join(noisy)) if target in quiet] == quiet
