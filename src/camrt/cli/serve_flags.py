"""The flags of the browser view, and what they mean to the runtime."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.inference.model import Model
    from camrt.runtime.render.display_settings import View
    from camrt.runtime.serve import Hub


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--serve`` and what belongs to it."""
    group = parser.add_argument_group("browser")
    group.add_argument(
        "--serve",
        metavar="[HOST:]PORT",
        help="show it in a browser; without HOST to this machine alone, with one to all who have the address it prints",
    )
    group.add_argument("--no-auth", action="store_true", help="let everybody in who reaches HOST, without a token")
    group.add_argument("--certfile", type=Path, metavar="FILE", help="encrypt: the certificate, PEM")
    group.add_argument(
        "--keyfile", type=Path, metavar="FILE", help="its key, PEM, unless it is in the certificate's file"
    )


def serve(
    args: argparse.Namespace, model: "Model", view: "View", names: Sequence[str], opened: ExitStack
) -> "Hub | None":
    """Start the server that the flags ask for, and say where; ``opened`` stops it. Returns None without ``--serve``."""
    if args.serve is None:
        for flag in ("no_auth", "certfile", "keyfile"):
            if getattr(args, flag):
                raise UsageError(f"--{flag.replace('_', '-')} belongs to --serve, which is not given")
        return None
    if args.keyfile is not None and args.certfile is None:
        raise UsageError("--keyfile needs --certfile")
    from camrt.runtime.serve import Hub, Server
    from camrt.runtime.serve.server import Address

    hub = Hub(model, view, names)
    server = Server(
        hub, Address.parse(args.serve), open_to_all=args.no_auth, certfile=args.certfile, keyfile=args.keyfile
    )
    opened.callback(server.stop)
    if not server.loopback:
        if server.token is None:
            print("camrt: whoever reaches this address sees the pictures and may change the settings", file=sys.stderr)
        if args.certfile is None:
            print("camrt: nothing is encrypted, the token neither; --certfile and --keyfile do that", file=sys.stderr)
    print(f"watch at {server.url}", file=sys.stderr)
    return hub
