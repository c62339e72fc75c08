"""Skips unused parts of libraries in a server. Imported before all other modules.

httpx has a command line of its own, which it imports with the package where rich, click and
pygments are there, as they are here for `askdocs`: 0.25 s of CPU and 5 MB in every worker. None in
`sys.modules` says that a module is not there, and httpx goes on without.
https://docs.python.org/3/reference/import.html#the-module-cache
"""

import sys

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
