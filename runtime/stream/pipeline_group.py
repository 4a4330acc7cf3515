"""Several cameras at once: a pipeline each, and none that fails takes another with it."""

import threading
from collections.abc import Callable, Sequence

from camrt.runtime.frames import Rendered
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
        on_frame: Callable[[int, Rendered], None],
        meanwhile: Callable[[], None],
        on_failure: Callable[[int, BaseException], None],
    ) -> list[Summary | BaseException]:
        """Run until the last has ended.

        Args:
            on_frame: gets the number of the camera, 0 the first, and each picture that its sinks have taken, in the
                camera's thread.
            meanwhile: called in this thread, again and again, as a window has to be; it is to wait a little itself.
            on_failure: gets the number of a camera that failed, and with what, in the camera's thread.

        Returns: what came of each camera, in their order: its summary, or what it failed with.
        """
        threads = [
            threading.Thread(
                target=self._run, args=(number, on_frame, on_failure), name=f"camrt-camera-{number}", daemon=True
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
        on_frame: Callable[[int, Rendered], None],
        on_failure: Callable[[int, BaseException], None],
    ) -> None:
        try:
            self._outcomes[number] = self._pipelines[number].run(lambda rendered: on_frame(number, rendered))
        except BaseException as error:  # noqa: BLE001 - returned by `run`; the other cameras go on
            self._outcomes[number] = error
            on_failure(number, error)
