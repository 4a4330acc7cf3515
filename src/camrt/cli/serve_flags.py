"""Flags of the browser view."""

import argparse
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from camrt.cli.messages import say, tell
from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.serve import Server
    from camrt.runtime.stream.hub import Hub


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--serve`` and the flags that belong to it."""
    group = parser.add_argument_group("browser")
    group.add_argument(
        "--serve",
        metavar="[HOST:]PORT",
        help="serve a page for browsers (default HOST: this machine only); other hosts require the printed token",
    )
    group.add_argument(
        "--no-auth",
        action="store_true",
        help="require no token: anyone who reaches HOST can watch and change settings",
    )
    group.add_argument("--certfile", type=Path, metavar="FILE", help="encrypt with this certificate, PEM")
    group.add_argument(
        "--keyfile", type=Path, metavar="FILE", help="key of the certificate, PEM, unless it is in the same file"
    )


def check_serve_flags(args: argparse.Namespace) -> None:
    """Check that the flags fit together and the server can be imported, before a camera is opened.

    Raises:
        UsageError: the flags do not fit together.
        MissingExtra: FastAPI or Uvicorn is not installed.
    """
    if args.serve is None:
        for flag in ("no_auth", "certfile", "keyfile"):
            if getattr(args, flag):
                raise UsageError(f"--{flag.replace('_', '-')} needs --serve")
        return
    if args.keyfile is not None and args.certfile is None:
        raise UsageError("--keyfile needs --certfile")
    import_module("camrt.runtime.serve")


def serve(args: argparse.Namespace, hub: "Hub", opened: ExitStack) -> "Server":
    """Start the server, print its address and return it; ``opened`` stops it."""
    from camrt.runtime.serve import Server
    from camrt.runtime.serve.server import Address

    server = Server(
        hub,
        Address.parse(args.serve),
        tell=tell,
        open_to_all=args.no_auth,
        certfile=args.certfile,
        keyfile=args.keyfile,
    )
    opened.callback(server.stop)
    if not server.loopback:
        if server.token is None:
            tell("warning: no authentication. Anyone who can reach this address can watch and change settings")
        if args.certfile is None:
            tell("warning: traffic, including the token, is not encrypted; use --certfile and --keyfile")
    say(f"watch at {server.url}")
    return server
