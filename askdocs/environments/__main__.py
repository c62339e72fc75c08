"""`python -m askdocs.environments NAME`: sets up one environment."""

import sys

from askdocs.environments import main

sys.exit(main())
