"""Items of a collection: each image and each frame of a video, in the order of the inputs."""

import hashlib
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from camrt.errors import SourceError, UsageError
from camrt.file_kind import UNKNOWN
from camrt.images import Image
from camrt.media_files import MEDIA_SUFFIXES, describe_other, media_kind
from camrt.runtime.collect.folder_classes import FolderClasses
from camrt.runtime.collect.inputs import Entry, Input
from camrt.runtime.evaluation.class_matching import Matching, check_matching, match_classes
from camrt.runtime.sources.files.animation import open_video

_NAMED: Final = 3
"""Files that a line about left-out files names."""


@dataclass(frozen=True, slots=True)
class Item:
    """An image to classify: one row of the store."""

    path: str
    """As the row states it."""
    file: str
    """The file to read."""
    chain: bytes
    """Digest of this item and all before it: names, sizes, times of change, classes. It tells if a run can go on."""
    group: str | None = None
    label: str | None = None
    classes: tuple[tuple[int, ...], ...] = ()
    """For each true class the numbers of the model's classes that are right; empty: no true class is known."""
    problem: str = ""
    """Reason why there is no image."""
    frame: Image | None = None
    """A frame of a video; None: the image is in the file."""


class Tally:
    """Files of several kinds: their number, and the first names."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, list[str]]] = {}
        self.count = 0

    def add(self, name: str, kind: str) -> None:
        """Count a file."""
        number, names = self._kinds.get(kind, (0, []))
        self._kinds[kind] = number + 1, names if len(names) == _NAMED else [*names, name]
        self.count += 1

    def lines(self, words: str) -> list[str]:
        """Return one line for each kind, after ``words``."""
        return [
            f"{words}: {', '.join(names)}{f' and {number - len(names)} more' if number > len(names) else ''} ({kind})"
            for kind, (number, names) in self._kinds.items()
        ]


class Items:
    """The items of inputs. Iterating reads names and first bytes of files, and decodes videos."""

    def __init__(self, inputs: Sequence[Input], labels: Sequence[str], model: str, *, every: int) -> None:
        """Read all names, match the classes and count.

        Args:
            inputs: the inputs.
            labels: of the model.
            model: name of the model, for messages.
            every: take every so many frames of a video.

        Raises:
            SourceError: an input cannot be read.
        """
        self.expected = 0
        """Number of items, as far as it is known."""
        self.remarks: list[str] = []
        """Lines about classes, and about videos as far as they were read."""
        self.left_out = Tally()
        self.classes: dict[str, list[int]] = {}
        """Numbers of the model's classes for each label."""
        self._inputs = inputs
        self._every = every
        self._folders: list[FolderClasses | None] = []
        self._matchings: list[Matching | None] = []
        for one in inputs:
            names: dict[str, None] = {}
            for entry in one.entries(lambda *_: None):
                self.expected += 1
                names.update(dict.fromkeys(entry.folders))
            if one.dataset is None:
                folders = FolderClasses(names, labels, one.synonyms, one.name)
                self.remarks += folders.remarks if one.name or folders.ids else []
                self.classes |= {name: list(ids) for name, ids in folders.ids.items()}
                self._folders.append(folders)
                self._matchings.append(None)
            else:
                matching = match_classes(one.dataset, labels)
                self.remarks.append(f"{one.name}: {len(one.dataset.images)} images with labels ({one.dataset.format})")
                self.remarks += one.dataset.remarks
                try:
                    self.remarks += check_matching(matching, one.dataset, model, allow_unmatched=True)
                except UsageError as error:  # the model knows none of the classes
                    self.remarks.append(str(error))
                self._folders.append(None)
                self._matchings.append(matching)
                self.classes |= {name: list(ids) for name, ids in matching.by_name.items() if ids}

    def __iter__(self) -> Iterator[Item]:
        chain = b""
        for one, folders, matching in zip(self._inputs, self._folders, self._matchings, strict=True):
            for entry in one.entries(self.left_out.add):
                for item in self._of_entry(entry, folders, matching, chain):
                    chain = item.chain
                    yield item

    def _of_entry(
        self, entry: Entry, folders: FolderClasses | None, matching: Matching | None, chain: bytes
    ) -> Iterator[Item]:
        label: str | None = None
        classes: tuple[tuple[int, ...], ...] = ()
        if matching is not None:
            known = [(one.label, ids) for one in entry.targets or () if (ids := matching.class_ids(one))]
            label = known[0][0] if known else None
            classes = tuple(ids for _, ids in known)
            group = "/".join(entry.folders) or None
        else:
            assert folders is not None
            label, ids, group = folders.place(entry.folders)
            classes = (ids,) if ids else ()
        path = str(entry.file)

        def item(problem: str = "", frame: Image | None = None, number: int | None = None) -> Item:
            shown = path if number is None else f"{path}#frame={number}"
            described = repr((shown, state, label, group, classes)).encode("utf-8", "backslashreplace")
            digest = hashlib.sha256(chain + described).digest()
            return Item(shown, path, digest, group, label, classes, problem, frame)

        problem, state = entry.problem, ""
        kind = UNKNOWN
        try:
            status = entry.file.stat()
            state = f"{status.st_size} {status.st_mtime_ns}"
            regular = stat.S_ISREG(status.st_mode)
            problem = problem or ("" if regular else f"{path} is no regular file")
            kind = media_kind(entry.file) if not problem else kind
        except OSError as error:
            regular = False
            problem = problem or f"{path} cannot be read: {error.strerror}"
        except SourceError as error:
            problem = str(error)
        promised = entry.named or entry.file.suffix.lower() in MEDIA_SUFFIXES
        if not entry.named and not regular:
            self._leave_out(entry.file.name, "no regular file, or a link to a missing one")
        elif problem or kind.kind == "image" or entry.targets is not None:
            yield item(problem)
        elif kind.kind == "video" and not entry.frames:
            self._leave_out(entry.file.name, "a video or an animation; name it, or use a glob")
        elif kind.kind == "video" or (kind is UNKNOWN and entry.named):
            for frame, number, trouble in self._frames(entry.file):
                made = item(trouble, frame, number)
                chain = made.chain
                yield made
        elif promised:
            yield item(describe_other(entry.file, kind))
        else:
            self._leave_out(entry.file.name, kind.name)

    def _leave_out(self, name: str, kind: str) -> None:
        self.left_out.add(name, kind)
        self.expected -= 1

    def _frames(self, file: Path) -> Iterator[tuple[Image | None, int | None, str]]:
        """Yield every so many frames of a video: pixels, number, and a problem, which ends it."""
        self.expected -= 1
        before = self.expected
        try:
            video = open_video(file)
        except SourceError as error:
            self.expected += 1
            yield None, None, str(error)
            return
        try:
            self.expected += -(-(video.frame_count or 0) // self._every)
            given = 0
            while (frame := video.read()) is not None:
                if frame.index % self._every == 0:
                    given += 1
                    self.expected = max(self.expected, before + given)
                    yield frame.image, frame.index, ""
            self.expected = before + given
            self.remarks += video.problems
        except SourceError as error:
            self.expected = before + given + 1
            yield None, None, str(error)
        finally:
            video.close()
