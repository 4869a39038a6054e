"""The dashboards as files that Grafana's sidecar, or a person, imports."""

import json
from typing import Final

from dev.dashboards.grafana import rendered
from dev.dashboards.overview import OVERVIEW
from dev.dashboards.pool import POOL
from dev.dashboards.stages import PERFORMANCE
from dev.project import ROOT

FOLDER: Final = ROOT / "deploy/observability/dashboards"
DASHBOARDS: Final = {"overview.json": OVERVIEW, "pool.json": POOL, "stages.json": PERFORMANCE}


def texts() -> dict[str, str]:
    return {name: json.dumps(rendered(found), indent=1) + "\n" for name, found in DASHBOARDS.items()}
