"""LustreAlertIOTask: LustreIOTask that sends a mail while writing or reading takes too long.

The main thread hangs in a system call then, so that another one sends it. One mail about an OST is enough for a while,
whichever worker of the node finds out and in whichever round: a file remembers when one was sent. A mail that cannot be
sent is a line of the log, and the next probe tries again; the probe itself does not suffer.
"""

import os
import time
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from pathlib import Path

from cyclone.lustre.alarm import Alarm
from cyclone.lustre.checked import runtime_folder
from cyclone.lustre.mail import Mailer, once_per_window
from cyclone.lustre.parsing import ost_name
from tasks.lustre_io import LustreIOTask


class LustreAlertIOTask(LustreIOTask):
    """Measures one OST as LustreIOTask does, and tells by mail when it hangs.

    ``mail_server`` is ``host`` or ``host:port``, ``mail_receiver`` addresses with commas between them,
    ``mail_threshold`` the seconds after which writing or reading is told of. ``mail_window_s`` is how long one mail
    about an OST is enough; ``mail_folder`` is where that is remembered, a private folder of this node by default: one
    that all nodes share makes it one mail for all of them. ``mail_tls`` is off, starttls or tls, ``mail_timeout_s`` how
    long each step of sending may take. ProbeFailed and ValueError as there.
    """

    def __init__(
        self,
        mail_server: str,
        mail_sender: str,
        mail_receiver: str,
        mail_threshold: float,
        ost_idx: int,
        block_size_bytes: int,
        total_size_bytes: int,
        write_file_sync: bool,
        target_dir: str,
        lfs_bin: str,
        lfs_target: str,
        sudo: bool = False,
        direct_io: bool = False,
        lfs_timeout_s: float = 60.0,
        local_mode: bool = False,
        mail_window_s: float = 3600.0,
        mail_folder: str = "",
        mail_tls: str = "off",
        mail_timeout_s: float = 10.0,
    ) -> None:
        super().__init__(
            ost_idx,
            block_size_bytes,
            total_size_bytes,
            write_file_sync,
            target_dir,
            lfs_bin,
            lfs_target,
            sudo,
            direct_io,
            lfs_timeout_s,
            local_mode,
        )
        if mail_threshold <= 0:
            raise ValueError(f"mail_threshold is {mail_threshold}: expected seconds, more than 0")
        Mailer(mail_server, mail_sender, mail_receiver, mail_tls, mail_timeout_s)
        self.mail_server = mail_server
        self.mail_sender = mail_sender
        self.mail_receiver = mail_receiver
        self.mail_threshold = mail_threshold
        self.mail_window_s = mail_window_s
        self.mail_folder = mail_folder
        self.mail_tls = mail_tls
        self.mail_timeout_s = mail_timeout_s

    def watched(self, what: str, path: Path) -> AbstractContextManager[object]:
        """See ``LustreIOTask.watched``."""
        # Connecting, greeting, and what follows: a server that is slow with each gets no more than these.
        return Alarm(self.mail_threshold, partial(self._alert, what, path, time.time()), 3 * self.mail_timeout_s)

    def _alert(self, what: str, path: Path, began: float) -> None:
        """In the other thread, while the main one hangs."""
        folder = Path(self.mail_folder) if self.mail_folder else runtime_folder()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with once_per_window(
                folder / f"mail-{self.lfs_target}-{ost_name(self.ost_idx)}", self.mail_window_s
            ) as due:
                if due:
                    self._send(what, path, began)
        except OSError as error:
            self.log.warning("no mail about %s: %s: %s", ost_name(self.ost_idx), type(error).__name__, error)

    def _send(self, what: str, path: Path, began: float) -> None:
        mailer = Mailer(self.mail_server, self.mail_sender, self.mail_receiver, self.mail_tls, self.mail_timeout_s)
        name = f"OST {self.ost_idx} ({ost_name(self.ost_idx)}) of {self.lfs_target}"
        done = "Writing to" if what == "Write" else "Reading from"
        text = (
            f"{done} {name} has taken longer than {self.mail_threshold:g} s, and goes on.\n\n"
            f"Since: {datetime.fromtimestamp(began).astimezone().isoformat(' ', 'seconds')}\n"
            f"Node:  {os.uname().nodename}\n"
            f"File:  {path}\n"
            f"Size:  {self.total_size_bytes} bytes, in blocks of {self.block_size_bytes}\n\n"
            f"Nothing more will be sent about this OST for {self.mail_window_s:g} s.\n"
        )
        subject = f"[LUSTRE Monitoring] OST {what} Performance Degradation Detected: {self.ost_idx}"
        refused = mailer.send(subject, text)
        self.log.warning("%s hangs: mail sent to %s", name, self.mail_receiver)
        for receiver, (code, reason) in refused.items():
            self.log.warning("the mail server refuses %s: %d %s", receiver, code, reason.decode(errors="replace"))
