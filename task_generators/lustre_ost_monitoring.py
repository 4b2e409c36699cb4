"""LustreOstMonitoringTaskGenerator: measures each OST of a Lustre file system in each round.

The section [monitoring] has:

- ``measure_interval``: from the beginning of a round to that of the next; 1m by default
- ``rounds``: how many; 0, the default, for rounds without end
- ``local_mode``: without a Lustre: OSTs 0 to 99 are made up, and files are written into ``target_dir`` as it is

The section [lustre] has:

- ``target``: the file system, such as lustrefs
- ``lfs_bin``: the command; lfs by default
- ``ost_select_list``: the OSTs to be measured, such as 0-5,8; empty, the default, for all. One that does not exist when
  the generator begins is an error; after that OSTs may come and go. While ``lfs check osts`` fails, a round has those
  of the round before
- ``sudo``: whether ``lfs check osts`` needs it

The section [probe] names a task of a task file by ``task_file`` and ``task_name``, or a ``class``, by default
``tasks.lustre_io:LustreIOTask``; ``time_limit``, 10m by default, is after which a probe that hangs is ended, 0 for
never. Its other keys are properties of the task, such as ``target_dir``, and win over the task file.

In a file of its own, which a master's ``config_file`` names, [monitoring] may be called [control], and [probe] [task]:
so the files of the original are read.

An OST that hangs blocks one worker. It is left out of the next rounds until its probe has a result, and each of them
has a record that says so. After a crash the round goes on where it was, and the next one begins an interval later.
"""

from cyclone.lustre.rounds import OstRoundsGenerator


class LustreOstMonitoringTaskGenerator(OstRoundsGenerator):
    """Yields a probe of each OST in each round; see the module."""

    default_class = "tasks.lustre_io:LustreIOTask"
    defaults = {"block_size_bytes": 1 << 20, "total_size_bytes": 64 << 20, "write_file_sync": True}
