"""Run ``camrt live`` in a process and measure its memory, threads, open files and processor time from outside."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from camrt.errors import CamrtError

_START_S = 60.0


class LiveProcess:
    """A running ``camrt live --serve``."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
        self.process = process
        self._log = log
        self.url = self._wait_for(r"watch at (\S+)")

    def output(self) -> str:
        """Return everything that it has printed so far, on both outputs."""
        return Path(self._log.name).read_text(errors="replace")

    def memory_mb(self) -> float:
        """Return its resident memory in megabytes."""
        return int(self._status("VmRSS").split()[0]) / 1e3

    def threads(self) -> int:
        """Return its number of threads."""
        return int(self._status("Threads"))

    def files(self) -> int:
        """Return its number of open files, including sockets."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208 - only the count

    def cpu_s(self) -> float:
        """Return its processor time in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, key: str) -> str:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{key}:"))

    def _wait_for(self, pattern: str) -> str:
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            if match := re.search(pattern, self.output()):
                return match[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise CamrtError(f"camrt live did not start: {self.output().strip()[-500:]}")


@contextlib.contextmanager
def live(model: Path, sources: Sequence[str], *flags: str) -> Iterator[LiveProcess]:
    """Run ``camrt live MODEL --source ... --serve`` on a free loopback port, and stop it with SIGTERM.

    Raises:
        CamrtError: the process does not start, or does not end within 10 s.
    """
    source_flags = [word for source in sources for word in ("--source", source)]
    command = [sys.executable, "-m", "camrt.cli", "live", str(model), *source_flags, "--serve", "0", *flags]
    with tempfile.NamedTemporaryFile(prefix="camrt-live-", suffix=".log") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield LiveProcess(process, log)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired as error:
                raise CamrtError("camrt live did not end within 10 s of SIGTERM") from error
        finally:
            process.kill()
            process.wait()
