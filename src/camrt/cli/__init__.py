"""Command line: one module per command.

Exit status: 0 done, 1 the work failed, 2 wrong use. An expected error prints one line with advice, and a traceback only
with ``--debug``.
"""

import os
import sys

if sys.argv[0] == "-m" and not sys.flags.safe_path and sys.path[0] == os.getcwd():  # noqa: PTH109 - pathlib is not loaded yet
    # `python -m camrt.cli` puts the current folder first. A json.py there would run in place of the library's.
    del sys.path[0]

import argparse
import signal
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NoReturn

from camrt import __version__
from camrt.cli import (
    annotate,
    attach,
    audit,
    bench,
    cameras,
    collect,
    demo,
    doctor,
    export,
    inspect,
    live,
    quantize,
    train,
)
from camrt.cli import eval as eval_command
from camrt.cli.config import ConfigurableParser
from camrt.cli.messages import say, tell
from camrt.cli.reload import reload_on_sighup
from camrt.errors import CamrtError, UsageError

_COMMANDS = (
    *(demo, live, annotate, cameras, bench, doctor),
    *(attach, export, quantize, inspect, train),
    *(eval_command, audit, collect),
)


def run() -> NoReturn:
    """Run the command of this process's arguments and end the process with its exit status."""
    _open_standard_streams()
    status = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if threading.active_count() > 1:
        # A thread is still inside OpenCV, waiting for a camera. The destructors that run at the end of a process would
        # abort it ("terminate called without an active exception"). All files are closed by now.
        os._exit(status)
    sys.exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that unfinished work is cleaned up
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        args = parse(words)
        debug = args.debug
        # During the start, too. Without a file SIGHUP keeps its meaning: the terminal was closed.
        if getattr(args, "config", None) is not None:
            reload_on_sighup()
        status = int(args.run(args))
        sys.stdout.flush()  # here, where an error can still be reported
    except CamrtError as error:
        if debug:
            traceback.print_exc()
        else:
            first, *others = str(error).split("\n")
            tell(first)
            for line in others:
                say(line)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        tell("interrupted")
        return 1
    except BrokenPipeError:
        # The reader of the output has ended (`camrt inspect ... | head`), so no message can reach it.
        _forget_output()
        return 1
    except OSError as error:
        _forget_output()
        if debug:
            traceback.print_exc()
        else:
            tell(str(error))
        return 1
    return status


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; ``parse_again`` of the result repeats it with the file of settings as it is then.

    Raises:
        UsageError: the file of settings is wrong.
    """
    args = _parser().parse_args(words)
    args.parse_again = partial(parse, words)
    return args


def _open_standard_streams() -> None:
    """Open the null device in place of a closed standard stream. A file that is opened later would take its number."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - it stays open


def _forget_output() -> None:
    """Discard the rest of the standard output: Python flushes it at exit and would report the error again."""
    with suppress(OSError, ValueError):  # in a test it may not be a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = ConfigurableParser(
        prog="camrt", description="See, live and on the device, where your image classifier looks."
    )
    parser.add_argument("--version", action="version", version=f"camrt {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=ConfigurableParser
    )
    for command in _COMMANDS:
        command.add(commands)
    for command_parser in commands.choices.values():
        command_parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser
