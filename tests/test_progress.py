"""The progress bar shows count, rate and remaining time."""

import io

from camrt.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_line_has_count_rate_and_remaining_time():
    progress = Progress(40, "frames", io.StringIO())
    for _ in range(10):
        progress.step()
    assert progress.line(5.0) == "[########                      ] 10/40 frames  2.0 frames/s  0:15 left"
    assert Progress(None, "frames", io.StringIO()).line(1.0) == "0 frames  0.0 frames/s"


def test_a_long_remaining_time_is_in_hours():
    progress = Progress(7201, "frames", io.StringIO())
    progress.step()
    assert progress.line(1.0).endswith("2:00:00 left")


def test_close_completes_the_bar_and_ends_its_line():
    terminal = Terminal()
    progress = Progress(2, "frames", terminal)
    progress.step()
    progress.step()
    progress.close()
    assert terminal.getvalue().endswith("\x1b[K\n")
    assert "2/2 frames" in terminal.getvalue()


def test_without_a_terminal_the_bar_writes_nothing():
    stream = io.StringIO()
    progress = Progress(1, "frames", stream)
    progress.step()
    progress.close()
    assert stream.getvalue() == ""


def test_a_short_work_has_no_bar_if_it_is_to_appear_later():
    terminal = Terminal()
    progress = Progress(1, "images", terminal, after_s=3600.0)
    progress.step()
    progress.close()
    assert terminal.getvalue() == ""
