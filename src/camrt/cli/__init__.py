"""Command line: one module per command.

Exit status: 0 done, 1 the work failed, 2 wrong use. An expected error prints one line with advice, and a traceback only
with ``--debug``.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from camrt import __version__
from camrt.cli import annotate, attach, bench, cameras, demo, doctor, export, inspect, live, quantize
from camrt.cli.config import ConfigurableParser
from camrt.errors import CamrtError, UsageError

_COMMANDS = (demo, live, annotate, attach, export, quantize, inspect, bench, cameras, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that unfinished work is cleaned up
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        args = parse(words)
        debug = args.debug
        status = int(args.run(args))
        sys.stdout.flush()  # here, where an error can still be reported
    except CamrtError as error:
        if debug:
            raise
        print(f"camrt: {_redacted(error)}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("camrt: interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of the output has ended (`camrt inspect ... | head`), so no message can reach it.
        _forget_output()
        return 1
    except OSError as error:
        if debug:
            raise
        _forget_output()
        print(f"camrt: {_redacted(error)}", file=sys.stderr)
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


def _redacted(error: Exception) -> str:
    """Return the message of an error without credentials; a user's word in it may be an address."""
    from camrt.runtime.sources.url import redact_text

    return redact_text(str(error))


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
