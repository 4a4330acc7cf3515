"""All errors that camrt raises on purpose.

    CamrtError              the work failed (exit status 1)
    ├── UsageError          an argument or option is invalid (exit status 2)
    │   └── MissingInput    a file or folder that the user named does not exist; also the error of what it is
    ├── MissingExtra        an optional dependency is not installed
    ├── ModelFileError      a model file cannot be opened or explained
    │   └── NoModelFile     the file is an ONNX model that camrt did not make
    ├── ProviderError       an execution provider cannot run on this machine
    ├── ExportError         a classifier cannot become a model file
    │   └── HeadNotFound    no part of the classifier gives maps of its classes
    ├── TrainingError       a network cannot be trained on: the loss is no number, memory is short
    ├── TimeLimitExceeded   a graph takes too long to open or to run
    ├── SourceError         frames or images cannot be read
    └── SinkError           results cannot be written
        └── DiskFull        the disk has no space left

A message says what is wrong, where, and what to do next.
"""

from camrt.text import one_line


class CamrtError(Exception):
    """Root of all errors that camrt raises on purpose. The text can be shown to a user as it is.

    It is one line, and one more for each further argument. Control characters in them, for example of a file's name,
    are escaped.
    """

    def __str__(self) -> str:
        return "\n  ".join(one_line(str(argument)) for argument in self.args)


class UsageError(CamrtError, ValueError):
    """An argument or option is invalid: an unknown class, a value out of range."""


class MissingExtra(CamrtError, ImportError):  # noqa: N818 - the name says what is missing
    """An optional dependency is not installed; the message names the extra that installs it."""


class ModelFileError(CamrtError):
    """A model file cannot be opened, or lacks data that explains its scores."""


class NoModelFile(ModelFileError):  # noqa: N818 - the name says what it is not
    """The file is an ONNX model without the outputs of a model file; ``camrt attach`` may convert it."""


class ProviderError(CamrtError):
    """The execution provider that the user named cannot run on this machine."""


class ExportError(CamrtError):
    """A classifier cannot become a model file, or the file failed its verification."""


class HeadNotFound(ExportError):  # noqa: N818 - the name says what is missing
    """No supported head was found: neither an exact one nor one that can be evaluated per cell."""


class TrainingError(CamrtError):
    """A training cannot go on: its loss is no number, or memory is too short for two images."""


class TimeLimitExceeded(CamrtError):  # noqa: N818 - the name says what is wrong
    """A graph takes too long to open or to run: it is huge, or holds a loop without an end."""


class SourceError(CamrtError):
    """Frames or images cannot be read: a missing camera, a truncated image, a file that is no video."""


class MissingInput(UsageError, ModelFileError, ExportError, SourceError):  # noqa: N818 - the name says what is missing
    """A file or folder that the user named does not exist."""


class SinkError(CamrtError):
    """Results cannot be written: no space, no permission, no display."""


class DiskFull(SinkError):  # noqa: N818 - the name says what is wrong
    """The disk has no space left. Everything written before is complete, and the sink can continue later."""
