"""Prints the OpenAPI document of the contracts."""

import json
import sys
from pathlib import Path

from gateway.openapi import openapi

if __name__ == "__main__":
    descriptors = Path(sys.argv[1] if len(sys.argv) > 1 else "gen/edge.pb")
    sys.stdout.write(json.dumps(openapi(descriptors), indent=2, ensure_ascii=False) + "\n")
