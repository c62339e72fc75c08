"""Disables the telemetry of libraries before any of them is imported.

Here and not in an entry point, because everything of this project, in each of its environments,
imports this package first, and what it starts inherits the variables.
"""

import os

os.environ.update(
    {
        # Within a minute onnxruntime connects to its maker; `disable_telemetry_events()` comes too
        # late for what it sends of its import.
        "ORT_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }
)
