"""The generator of migrations with a Lustre that is made up: what ``benchmarks/lustre.py`` has its master run."""

from benchmarks.lustre_world import PretendMigration
from cyclone import BaseTask
from cyclone.lustre.lfs import Target
from task_generators.lustre_ost_migration import LustreOstMigrationTaskGenerator

OST_BYTES = 64 << 40


class PretendMigrations(LustreOstMigrationTaskGenerator):
    """The generator as it is, but for the file system."""

    def task_class(self) -> type[BaseTask]:
        """Of the moves."""
        return PretendMigration

    def ask_levels(self) -> list[Target]:
        """Sources are full, targets are empty; what is moved is too little to be seen."""
        targets = self.options.rules.targets
        used = {index: 0 if index in targets else OST_BYTES * 9 // 10 for index in range(max(targets) + 1)}
        return [Target("OST", i, f"OST{i:04x}", OST_BYTES, size, OST_BYTES - size) for i, size in used.items()]
