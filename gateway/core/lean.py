"""Skips unused parts of libraries in a server. Imported before all other modules.

httpx imports its own command line if rich, click and pygments are installed, as they are here for
`askdocs`: 0.25 s of CPU and 5 MB in every worker. None in `sys.modules` marks the module as
missing, and httpx continues without it.
https://docs.python.org/3/reference/import.html#the-module-cache
"""

import sys

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
