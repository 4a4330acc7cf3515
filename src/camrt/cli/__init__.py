"""The command line: one module a command, loaded only for its own parser and run.

Exit status: 0 done, 1 the work failed, 2 wrong use. An expected error is one line that says what to do next; a
traceback only with ``--debug``.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from camrt import __version__
from camrt.cli import annotate, attach, bench, cameras, demo, doctor, export, inspect, live, quantize
from camrt.cli.config import ConfigurableParser
from camrt.errors import CamrtError, UsageError

_COMMANDS = (demo, live, annotate, attach, export, quantize, inspect, bench, cameras, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is half done is cleaned up
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        args = parse(words)
        debug = args.debug
        status = int(args.run(args))
        sys.stdout.flush()  # here, where what goes wrong can be told
    except CamrtError as error:
        if debug:
            raise
        print(f"camrt: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("camrt: interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has left (`camrt inspect ... | head`); nothing can be said to them any more.
        _forget_output()
        return 1
    except OSError as error:
        if debug:
            raise
        _forget_output()
        print(f"camrt: {error}", file=sys.stderr)
        return 1
    return status


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Return what a command line asks for, and the words themselves in ``words``. Raises: UsageError: by a file."""
    args = _parser().parse_args(words)
    args.words = words
    return args


def _forget_output() -> None:
    """Let what is left of the standard output vanish: Python flushes it once more at its end, and would complain."""
    with suppress(OSError, ValueError):  # in a test it may be no file at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="camrt", description="See, live and on the device, where your image classifier is looking."
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
