"""The product's images, made on this machine: no registry, no daemon, nothing that is not pinned."""

from dev.project import ROOT
from dev.services import SERVICES

IMAGES = (*SERVICES, "gateway")
KEPT = ROOT / "var/images"
BASE = "localhost/newvisions/base:dev"


def reference(image: str) -> str:
    """As the development overlay calls it."""
    return f"localhost/newvisions/{image}:dev"
