"""Group of pipelines: several streams at once, each independent of the others."""

import threading
from collections.abc import Callable, Sequence

from camrt.runtime.frames import StreamItem
from camrt.runtime.stream.pipeline import Pipeline, Summary


class PipelineGroup:
    """Runs pipelines side by side, each in a thread of its own, until all have ended."""

    def __init__(self, pipelines: Sequence[Pipeline]) -> None:
        self._pipelines = pipelines
        self._outcomes: list[Summary | BaseException | None] = [None] * len(pipelines)

    def stop(self) -> None:
        """End all of them soon; may be called from any thread or a signal handler, and more than once."""
        for pipeline in self._pipelines:
            pipeline.stop()

    def run(
        self,
        on_item: Callable[[int, StreamItem], None],
        meanwhile: Callable[[], None],
        on_failure: Callable[[int, BaseException], None],
    ) -> list[Summary | BaseException]:
        """Run until the last has ended.

        Args:
            on_item: gets the number of the stream, 0 first, and each item that its sinks have taken, in the stream's
                thread.
            meanwhile: called in this thread, again and again, as a window needs it; it waits a little itself.
            on_failure: gets the number of a stream that failed, and its error, in the stream's thread.

        Returns: the outcome of each stream, in their order: its summary, or its error.
        """
        threads = [
            threading.Thread(
                target=self._run, args=(number, on_item, on_failure), name=f"camrt-stream-{number}", daemon=True
            )
            for number in range(len(self._pipelines))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    meanwhile()
        finally:
            self.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        return [outcome for outcome in self._outcomes if outcome is not None]

    def _run(
        self,
        number: int,
        on_item: Callable[[int, StreamItem], None],
        on_failure: Callable[[int, BaseException], None],
    ) -> None:
        try:
            self._outcomes[number] = self._pipelines[number].run(lambda item: on_item(number, item))
        except BaseException as error:  # noqa: BLE001 - returned by `run`; the other streams go on
            self._outcomes[number] = error
            on_failure(number, error)
