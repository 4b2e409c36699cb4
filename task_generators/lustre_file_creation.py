"""LustreFileCreationTaskGenerator: checks in each round that files can be created by each MDT on each OST.

Sections and options are those of ``task_generators.lustre_ost_monitoring``; the class is by default
``tasks.lustre_file_creation_check:LustreFileCreationCheckTask``. It needs these properties, from the task file or in
[probe]:

- ``target_base_dir`` and ``target_mdt_sub_dir``: the folder on MDT 3 is the first, a slash, the second, and 3
- ``mdt_index_rangeset``: the MDTs, such as 0-2

``lfs mkdir -i 3 /lustre/monitoring/mdt3`` makes such a folder. A folder that lies on another MDT is an error when the
generator begins: what is checked there would be told of the wrong one.
"""

from collections.abc import Iterator

from cyclone import BaseTask
from cyclone.errors import ConfigError
from cyclone.lustre.lfs import Lfs, LfsError
from cyclone.lustre.rounds import OstRoundsGenerator
from cyclone.ranges import range_set
from tasks.lustre_file_creation_check import LustreFileCreationCheckTask


class LustreFileCreationTaskGenerator(OstRoundsGenerator):
    """Yields a check of each OST in each round; see the module."""

    default_class = "tasks.lustre_file_creation_check:LustreFileCreationCheckTask"
    defaults = {"target_mdt_sub_dir": "mdt"}

    def generate(self) -> Iterator[BaseTask]:
        probe = self.task.build(ost_idx=0)
        if isinstance(probe, LustreFileCreationCheckTask) and not self.local_mode:
            self._check_folders(probe)
        yield from super().generate()

    def _check_folders(self, probe: LustreFileCreationCheckTask) -> None:
        lfs = Lfs(self.lfs_bin)
        for mdt in range_set(probe.mdt_index_rangeset):
            folder = probe.folder(mdt)
            try:
                found = lfs.dir_mdt_index(str(folder))
            except LfsError as error:
                # The file system may be mounted on the workers' nodes alone, and an MDT may hang: they will tell.
                self.log.warning("nobody knows on which MDT %s lies: %s", folder, error)
                continue
            if found != mdt:
                raise ConfigError(
                    f"[{self.task.section}] target_mdt_sub_dir: {folder} lies on MDT {found}, not {mdt}: "
                    f"make it by lfs mkdir -i {mdt}"
                )
