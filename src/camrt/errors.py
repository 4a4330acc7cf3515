"""Every error that camrt raises on purpose.

    CamrtError              the work could not be done (exit status 1)
    ├── UsageError          what was asked makes no sense (exit status 2)
    ├── MissingExtra        an optional dependency is not installed
    ├── ModelFileError      a model file cannot be opened or explained
    │   └── NoModelFile     it is an ONNX model, but not one that camrt made
    ├── ProviderError       an execution provider cannot run here
    ├── ExportError         a classifier cannot become a model file
    │   └── HeadNotFound    nothing of it can be shown as maps of its classes
    ├── SourceError         frames cannot be read
    └── SinkError           results cannot be written
        └── DiskFull        for want of space

A message says what is wrong, where, and what to do next.
"""


class CamrtError(Exception):
    """Root of all errors that camrt raises on purpose; its text is fit to show to a user as it is."""


class UsageError(CamrtError, ValueError):
    """What was asked makes no sense: an unknown class, an option out of range."""


class MissingExtra(CamrtError, ImportError):  # noqa: N818 - the name says what is missing
    """An optional dependency is not installed; the message names the extra that brings it."""


class ModelFileError(CamrtError):
    """A model file cannot be opened, or does not hold what is needed to explain its scores."""


class NoModelFile(ModelFileError):  # noqa: N818 - the name says what it is not
    """The file is an ONNX model that lacks what a model file of camrt has; ``camrt attach`` may make one of it."""


class ProviderError(CamrtError):
    """The execution provider that was asked for by name cannot run on this machine."""


class ExportError(CamrtError):
    """A classifier cannot be turned into a model file, or the file failed its verification."""


class HeadNotFound(ExportError):  # noqa: N818 - the name says what is missing
    """The classifier's head is none whose maps can be shown: neither exactly nor by asking about each cell."""


class SourceError(CamrtError):
    """Frames cannot be read: no such camera, a broken picture, a video that is not one."""


class SinkError(CamrtError):
    """Results cannot be written: no space, no permission, no display."""


class DiskFull(SinkError):  # noqa: N818 - the name says what is the matter
    """There is no room for what is to be written. What was written before is whole, and the sink takes more later."""
