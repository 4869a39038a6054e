import pytest

from services.kernel.stores import patience


@pytest.mark.parametrize("url", ["file:///var/blobs", "memory:///"])
def test_what_is_no_network_takes_no_options(url: str) -> None:
    assert patience(url, 8) == {}


@pytest.mark.parametrize(
    ("url", "name"), [("s3://b", "AWS_TIMEOUT"), ("gs://b", "GOOGLE_TIMEOUT"), ("az://b", "AZURE_TIMEOUT")]
)
def test_what_operators_say_of_the_way_to_a_store_goes_before_what_is_usual(
    url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "3s")
    assert patience(url, 8)["client_options"]["timeout"] == "3s"
    monkeypatch.delenv(name)
    assert patience(url, 8)["client_options"]["timeout"].total_seconds() == 4
