"""``python -m camrt.cli``: the command line without its installed script."""

import sys

from camrt.cli import main

sys.exit(main())
