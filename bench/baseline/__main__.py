"""`python -m bench.baseline`: the application, served by uvicorn."""

import uvicorn

from bench.baseline.app import application
from bench.baseline.settings import Settings
from services.kernel.settings import read


def main() -> None:
    settings = read(Settings)
    uvicorn.run(application(settings), host="127.0.0.1", port=settings.port, access_log=False)


if __name__ == "__main__":
    main()
