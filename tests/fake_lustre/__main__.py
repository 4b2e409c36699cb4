"""``python -m tests.fake_lustre init --mount DIR``: fake-lfs, before there is one."""

import sys

from tests.fake_lustre.admin import main

main(sys.argv[1:])
