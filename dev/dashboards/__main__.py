"""`python -m dev.dashboards`: deploy/observability/dashboards/*.json, written from the panels here."""

from dev.dashboards.files import FOLDER, texts


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
