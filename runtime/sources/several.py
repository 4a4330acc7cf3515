"""Open several sources at once, each under a name of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING

from camrt.runtime.sources.names import unique_names
from camrt.runtime.sources.options import SourceOptions
from camrt.runtime.sources.registry import PreparedSource, prepare_source

if TYPE_CHECKING:
    from camrt.runtime.frames import Source


def open_sources(
    texts: Sequence[str],
    *,
    tell: Callable[[str], None] = lambda line: None,
    options: Sequence[SourceOptions] | None = None,
) -> "list[Source]":
    """Open all sources at the same time, because one that does not answer takes seconds.

    One of several cameras or streams that does not answer counts as lost and is opened again until it is there. A
    single one is an error.

    Args:
        texts: the sources, each as `open_source` takes it.
        tell: as in `open_source`; several threads may call it.
        options: those of each source; None: the defaults.

    Returns: the open sources in the order of ``texts``. Sources that would have the same name are numbered:
        ``camera 0``, ``camera 0 (2)``. The caller closes them.

    Raises:
        UsageError, SourceError, MissingExtra: as `open_source` does. The sources that were opened are closed.
    """
    options = [SourceOptions()] * len(texts) if options is None else options
    prepared = [prepare_source(text, chosen) for text, chosen in zip(texts, options, strict=True)]
    names = unique_names([source.name for source in prepared])
    pending: list[Future[Source]] = [Future() for _ in prepared]
    try:
        # Daemon threads and no executor: Python waits for an executor's threads at exit, which would delay Ctrl-C.
        for number, (source, name, future) in enumerate(zip(prepared, names, pending, strict=True)):
            arguments = (source, name, len(texts) > 1, tell, future)
            Thread(target=_open, args=arguments, name=f"open {number}", daemon=True).start()
        for future in pending:
            future.exception()  # waits
        return [future.result() for future in pending]
    except BaseException:  # an error of a source, or Ctrl-C while some are still being opened
        for future in pending:
            future.add_done_callback(_close)
        raise


def _open(
    source: PreparedSource, name: str, patient: bool, tell: Callable[[str], None], future: "Future[Source]"
) -> None:
    try:
        future.set_result(source.open(name, patient, tell))
    except BaseException as error:  # noqa: BLE001 - raised again by `Future.result`
        future.set_exception(error)


def _close(future: "Future[Source]") -> None:
    if future.exception() is None:
        future.result().close()
