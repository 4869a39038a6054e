"""What deploy/README.md tells to type and to write does what it says."""

import re
import shlex
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from dev.services import SERVICES, STORES
from tests.tutorials import LANGUAGES, blocks
from tests.unit.k8s import ROOT, Manifest, Rendered, containers, gateway_settings, overlaid, pod, rendered
from tests.unit.k8s.test_schemas import NEWEST, OLDEST, fault_of

pytestmark = pytest.mark.slow

README = (ROOT / "deploy/README.md").read_text()
BLOCKS = [
    document
    for block in re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    for document in yaml.safe_load_all(block)
]
# No package has the schema of the Gateway API.
WITHOUT_SCHEMA = {"HTTPRoute"}


def manifest(kind: str) -> Manifest:
    (found,) = [block for block in BLOCKS if block.get("kind") == kind]
    return dict(found)


def prod_with(telling: str) -> Rendered:
    """The overlay with the lines of the one example that speaks of this."""
    (additions,) = [block for block in BLOCKS if "kind" not in block and telling in yaml.safe_dump(block)]
    return overlaid("prod", additions)


def faults(cluster: Rendered) -> list[str]:
    return [fault for each in cluster.manifests for fault in [fault_of(each, NEWEST)] if fault]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_manifests_in_it_keep_their_schemas(version: str) -> None:
    found = [block for block in BLOCKS if "kind" in block]
    assert {block["kind"] for block in found} == {"HTTPRoute", "Ingress", "NetworkPolicy"}
    for block in found:
        assert block["metadata"]["namespace"] == "newvisions"
        assert block["kind"] in WITHOUT_SCHEMA or fault_of(block, version) == ""


def test_ways_in_lead_to_the_port_that_the_gateway_has() -> None:
    (port,) = rendered("prod").named("Service", "gateway")["spec"]["ports"]
    (rule,) = manifest("Ingress")["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "gateway", "port": {"name": port["name"]}}
    (rule,) = manifest("HTTPRoute")["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "gateway", "port": port["port"]}]


def test_the_numbers_of_proxies_are_those_of_the_overlays() -> None:
    told = {way: int(number) for way, number in re.findall(r"^\| (.+?) \| (\d) \|$", README, re.MULTILINE)}
    assert sorted(told.values()) == [0, 0, 1, 2]
    assert gateway_settings(rendered("prod")).trusted_proxies == 1
    assert gateway_settings(rendered("dev")).trusted_proxies == 0
    assert gateway_settings(prod_with("LoadBalancer")).trusted_proxies == 0


def test_behind_a_plain_load_balancer_the_gateway_ends_tls_itself() -> None:
    cluster = prod_with("LoadBalancer")
    assert faults(cluster) == []
    service = cluster.named("Service", "gateway")["spec"]
    # Otherwise all callers have a node's address, and share its rate limit.
    assert (service["type"], service["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    deployment = cluster.named("Deployment", "gateway")
    (container,) = containers(deployment)
    (port,) = service["ports"]
    assert port["targetPort"] in {named["name"] for named in container["ports"]}
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
    tls = gateway_settings(cluster).listener_tls
    assert tls is not None
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    (volume,) = [
        found for found in pod(deployment)["volumes"] if found["name"] == mounts["/run/listener-tls"]
    ]
    assert {tls.certificate, tls.key} == {"/run/listener-tls/tls.crt", "/run/listener-tls/tls.key"}
    assert volume["secret"]["secretName"] == "gateway-certificate"


def test_a_collector_elsewhere_is_told_to_the_gateway_and_to_the_services() -> None:
    cluster = prod_with("components/tracing")
    collector = gateway_settings(cluster).otlp
    assert collector == "tempo.observability.svc.cluster.local:4317"
    for name in SERVICES:
        told = {
            each["name"]: each.get("value")
            for each in containers(cluster.named("Deployment", name))[0]["env"]
        }
        assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://{collector}"


def test_databases_outside_are_where_the_overlay_says() -> None:
    cluster = prod_with("components/external-data")
    assert faults(cluster) == []
    for name in ("external-mongodb", "external-valkey"):
        (rule,) = cluster.named("NetworkPolicy", name)["spec"]["egress"]
        assert rule["to"] == [{"ipBlock": {"cidr": "10.20.30.0/24"}}]


def test_the_secrets_of_the_development_overlay_are_those_that_its_services_read() -> None:
    cluster = rendered("dev")
    ports = {
        found["metadata"]["name"]: {port["port"] for port in found["spec"]["ports"]}
        for found in cluster.of("Service")
    }
    made = _secrets()
    assert made.keys() == set(SERVICES)
    for name, held in made.items():
        files = {f"{name}_{store}_url" for store in STORES[name]} | {
            value.rpartition("/")[2]
            for setting, value in cluster.named("ConfigMap", name)["data"].items()
            if setting.endswith("_KEY_FILE")
        }
        assert held.keys() == files
        for file, url in held.items():
            if file.endswith("_url"):
                assert urlsplit(url).port in ports[str(urlsplit(url).hostname)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tutorial_counts_what_would_be_applied(language: str) -> None:
    told = [text for _, text in blocks(language, "deploying")]
    (asked,) = [number for number, text in enumerate(told) if "grep -c '^kind:'" in text]
    assert int(told[asked + 1]) == len(rendered("prod").manifests)


def _secrets() -> dict[str, dict[str, str]]:
    """What the commands in it make: for each Secret, its files."""
    (block,) = [
        found for found in re.findall(r"^```sh\n(.*?)^```$", README, re.M | re.S) if "MONGO=" in found
    ]
    words = [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]
    known = dict(word.split("=", 1) for (word, *_) in words if re.match(r"[A-Z]+=", word))
    made: dict[str, dict[str, str]] = {}
    for command in words:
        if "generic" in command:
            name = command[command.index("generic") + 1]
            made[name] = dict(_literal(word, known) for word in command if word.startswith("--from-literal="))
    return made


def _literal(word: str, known: dict[str, Any]) -> tuple[str, str]:
    file, _, value = word.removeprefix("--from-literal=").partition("=")
    return file, str(known.get(value.removeprefix("$"), value))
