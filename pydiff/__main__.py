"""`python -m pydiff` is the command line `pydiff`."""

import sys

from .cli.main import main

sys.exit(main())
