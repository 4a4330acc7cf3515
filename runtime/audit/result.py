"""Result of an audit as users have it: the data, and the report."""

from pathlib import Path

from camrt.runtime.audit.finding import AuditData
from camrt.runtime.audit.report.write import write_report


class Audit(AuditData):
    """Result of `camrt.audit`."""

    def write_report(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a folder with ``report.html``, ``report.json``, tables, boxes and a script for FiftyOne.

        The page is one file that loads nothing. Images that it shows are read again. All files are written, or none.

        Args:
            path: the folder; it is created. Its folder must exist.
            overwrite: replace the files of an older report there.

        Returns: the path of ``report.html``.

        Raises:
            UsageError: the path is a file, or a folder with a report or with other files.
            SinkError: the files cannot be written.
        """
        return write_report(self, Path(path), overwrite=overwrite)
