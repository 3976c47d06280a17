"""``python -m tests.bench`` is ``python -m tests.bench.compare``."""

from __future__ import annotations

import sys

from tests.bench.compare import main

sys.exit(main())
