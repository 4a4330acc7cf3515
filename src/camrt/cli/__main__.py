"""``python -m camrt.cli``: the command line without its installed script."""

from camrt.cli import run

run()
