"""``python -m isodrop_cli``: the command, where no script of it is installed."""

import sys

from isodrop_cli.main import main

sys.exit(main())
