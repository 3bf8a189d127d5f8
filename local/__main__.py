"""`python -m local`: see `local.run`."""

import sys

from local.run import main

sys.exit(main())
