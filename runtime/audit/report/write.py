"""Write the folder of a report: all files, or none."""

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from camrt.errors import UsageError
from camrt.files import write_error
from camrt.runtime.audit.finding import AuditData
from camrt.runtime.audit.report.coco import boxes_json
from camrt.runtime.audit.report.fiftyone import script
from camrt.runtime.audit.report.page import page
from camrt.runtime.audit.report.tables import findings_csv, images_csv

PAGE: Final = "report.html"
DATA: Final = "report.json"


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check the folder of a report before long work begins.

    Raises: UsageError: it is a file, its own folder is missing, or it has a report or other files.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a new folder for the report")
    if not folder.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {folder.parent}; create it first")
    if not folder.is_dir():
        return
    if (folder / PAGE).is_file() and (folder / DATA).is_file():
        if not overwrite:
            raise UsageError(f"{folder} has a report; choose another name, or replace it with --overwrite")
    elif any(one.name[0] not in "._" for one in folder.iterdir()):
        raise UsageError(f"{folder} is a folder with other files; name a new one for the report")


def write_report(audit: AuditData, folder: Path, *, overwrite: bool = False) -> Path:
    """Write a report, see `camrt.runtime.audit.result.Audit.write_report`; returns the path of the page.

    The files are written to a hidden folder first. An older report is replaced file by file, and files that are not of
    a report stay.
    """
    check_folder(folder, overwrite=overwrite)
    texts = {
        PAGE: page(audit),
        DATA: audit.to_json() + "\n",
        "images.csv": images_csv(audit),
        "findings.csv": findings_csv(audit),
        "boxes.json": boxes_json(audit) + "\n",
        "fiftyone_dataset.py": script(audit),
    }
    # A folder that exists may be a mounted file system, so that only its inside is on the same one.
    hidden = (folder if folder.is_dir() else folder.absolute().parent) / f".report-{secrets.token_hex(4)}"
    try:
        hidden.mkdir()
        for name, text in texts.items():
            with (hidden / name).open("wb") as file:
                file.write(text.encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
        if folder.is_dir():
            for name in texts:
                (hidden / name).replace(folder / name)
        else:
            hidden.rename(folder)
    except OSError as error:
        raise write_error(folder, error) from error
    finally:
        with suppress(OSError):
            shutil.rmtree(hidden)
    return folder / PAGE
