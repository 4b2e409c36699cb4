"""Records of every form, and those that are none."""

import pytest

from cyclone.lustre.migration_input import BadRecord, Entry, Form, find_form, is_fid

FS = "/lustre"
FID = "[0x200000401:0x1a:0x0]"


@pytest.mark.parametrize(
    ("record", "entry"),
    [
        (b"17 /lustre/a", Entry(17, "/lustre/a", None)),
        (b"0 /lustre/a file | with 'odd\" names ", Entry(0, "/lustre/a file | with 'odd\" names ", None)),
        (b"0x1F /lustre/a", Entry(31, "/lustre/a", None)),
        (b"OST030f /lustre/a", Entry(783, "/lustre/a", None)),
        (b"1 /lustre/caf\xe9", Entry(1, "/lustre/caf\udce9", None)),
        (b"1 /lustre/a\nb", Entry(1, "/lustre/a\nb", None)),
        (b"1 /lustre/..a/b..", Entry(1, "/lustre/..a/b..", None)),
        (f"5 {FID}".encode(), Entry(5, FID, None)),
        (f"5 {FID}\r".encode(), Entry(5, FID, None)),
        (b"1 /lustre/a\r", Entry(1, "/lustre/a", None)),
    ],
)
def test_given_a_line_then_it_is_read(record: bytes, entry: Entry) -> None:
    assert Form().reader(FS)(record) == entry
    assert Form().reader(FS + "/")(record) == entry


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "expected an OST"),
        (b"/lustre/a", "expected an OST"),
        (b"17", "expected an OST"),
        (b"17  /lustre/a", "neither below /lustre/"),
        (b"-1 /lustre/a", "expected an OST"),
        (b"99999 /lustre/a", "none above 65535"),
        (b"17 /lustre", "neither below"),
        (b"17 /lustre2/a", "neither below"),
        (b"17 lustre/a", "neither below"),
        (b"17 /lustre/../etc/passwd", "holds .."),
        (b"17 /lustre/a/..", "holds .."),
        (b"17 [0x1:0x2]", "neither below"),
        (b"\xd9\xa1 /lustre/a", "expected an OST"),
    ],
)
def test_given_what_is_no_line_then_it_says_why(record: bytes, reason: str) -> None:
    with pytest.raises(BadRecord, match=reason):
        Form().reader(FS)(record)


def test_given_nul_at_the_end_then_a_name_may_end_in_any_byte() -> None:
    assert Form(b"\0").reader(FS)(b"1 /lustre/a\r") == Entry(1, "/lustre/a\r", None)


def test_given_a_mount_point_with_the_signs_of_a_pattern_then_it_is_taken_as_it_is() -> None:
    read = Form().reader("/lu.*e")
    assert read(b"1 /lu.*e/a").path == "/lu.*e/a"
    with pytest.raises(BadRecord):
        read(b"1 /lustre/a")


@pytest.mark.parametrize(
    ("beginning", "form"),
    [
        (b"17 /lustre/a\n18 /lustre/b\n", Form()),
        (b"17 /lustre/a\nb\x0018 /lustre/b\0", Form(b"\0")),
        (b"", Form()),
        (b"ost,path\n", Form(b"\n", ("ost", "path"), ",", 9)),
        (b"\xef\xbb\xbfPath;x;OST_Index;Size\r\n", Form(b"\n", ("path", "", "ost", "size"), ";", 26)),
        (b'"fid"\t"ost"\n', Form(b"\n", ("fid", "ost"), "\t", 12)),
    ],
)
def test_given_a_beginning_then_its_form_is_found(beginning: bytes, form: Form) -> None:
    assert find_form(beginning) == form


def test_given_a_header_without_a_path_then_the_file_is_refused() -> None:
    with pytest.raises(BadRecord, match="path or fid, are needed"):
        find_form(b"ost,size\n")
    with pytest.raises(BadRecord, match="twice"):
        find_form(b"ost,path,path\n")


def test_given_columns_of_the_configuration_then_there_is_no_header() -> None:
    form = find_form(b"a,b,c\n", ("path", "", "ost"))
    assert form == Form(b"\n", ("path", "", "ost"))
    assert form.reader(FS)(b"/lustre/a,x,0x10") == Entry(16, "/lustre/a", None)


@pytest.mark.parametrize(
    ("record", "entry"),
    [
        (b"1,/lustre/a,12,", Entry(1, "/lustre/a", 12)),
        (b'1,"/lustre/a, ""b""",,', Entry(1, '/lustre/a, "b"', None)),
        (b"OST0002,/lustre/caf\xe9,0,\r", Entry(2, "/lustre/caf\udce9", 0)),
        (b"3,,5,[0x1:0x2:0x3]", Entry(3, "[0x1:0x2:0x3]", 5)),
    ],
)
def test_given_a_row_then_it_is_read(record: bytes, entry: Entry) -> None:
    assert Form(b"\n", ("ost", "path", "size", "fid")).reader(FS)(record) == entry


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"1,/lustre/a", "2 columns of 4"),
        (b"x,/lustre/a,1,", "'x' is no OST"),
        (b"1,/lustre/a,-1,", "'-1' is no size"),
        (b'1,"/lustre/a,1,', "is no CSV"),
        (b"1,,1,", "neither below"),
        (b"", "no CSV|columns"),
    ],
)
def test_given_what_is_no_row_then_it_says_why(record: bytes, reason: str) -> None:
    with pytest.raises(BadRecord, match=reason):
        Form(b"\n", ("ost", "path", "size", "fid")).reader(FS)(record)


def test_given_a_fid_then_it_is_known_by_its_brackets() -> None:
    assert is_fid(FID)
    assert not is_fid("/lustre/" + FID)
    assert not is_fid(FID.strip("[]"))
