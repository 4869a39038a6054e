"""A stack on a MongoDB that is there already runs none of its own, and keeps to databases of its own."""

from pathlib import Path

from dev.services import SERVICES, Plan

URL = "mongodb://127.0.0.1:27018/?replicaSet=rs0&w=majority&journal=true"


def plan(data: Path, url: str) -> Plan:
    (data / "secrets").mkdir(parents=True, exist_ok=True)
    return Plan(data, "many", "tone", {}, mongo_elsewhere=url)


def test_the_embedded_database_is_a_process_that_services_wait_for(tmp_path: Path) -> None:
    table = {spec.name: spec for spec in plan(tmp_path, "").table()}
    assert {"mongo", "valkey", *SERVICES} == table.keys()
    assert "mongo" in table["auth"].needs


def test_with_another_database_nobody_starts_or_awaits_the_embedded_one(tmp_path: Path) -> None:
    table = {spec.name: spec for spec in plan(tmp_path, URL).table()}
    assert {"valkey", *SERVICES} == table.keys()
    assert not any("mongo" in spec.needs for spec in table.values())


def test_two_stacks_on_one_server_share_no_database_and_a_stack_finds_its_own_again(tmp_path: Path) -> None:
    def databases(data: Path) -> set[str]:
        settings = plan(data, URL).settings(SERVICES)
        assert settings["VOICE_MONGO_URL"] == URL
        names = ("AUTH_DATABASE", "VOICE_MONGO_DATABASE", "PERFORM_MONGO_DATABASE")
        return {settings[name] for name in names}

    one, other = databases(tmp_path / "one"), databases(tmp_path / "other")
    assert len(one | other) == 6
    assert databases(tmp_path / "one") == one
