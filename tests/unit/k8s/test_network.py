"""Who may speak to whom: every call that the product makes is open, and no other."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from itertools import product

import pytest

from dev.services import CALLED_LATER, PEERS, SERVICES, STORES
from tests.unit.k8s import (
    VARIANTS,
    Manifest,
    Rendered,
    containers,
    gateway_settings,
    has,
    pod_labels,
    rendered,
)

pytestmark = pytest.mark.parametrize("variant", VARIANTS)
GRPC, MONGO, VALKEY, METRICS, HTTPS, OTLP = 50051, 27017, 6379, 9100, 443, 4317
CALLS = {name: {*PEERS.get(name, ()), *CALLED_LATER.get(name, ())} for name in SERVICES}


@pytest.fixture
def cluster(variant: str) -> Rendered:
    return rendered(variant)


def test_nothing_is_open_to_begin_with(cluster: Rendered) -> None:
    deny = cluster.named("NetworkPolicy", "deny-everything")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_each_call_between_services_is_open_on_both_ends_and_no_other_is(cluster: Rendered) -> None:
    wanted = {(caller, callee) for caller, callees in CALLS.items() for callee in callees}
    wanted |= {("gateway", service) for service in SERVICES}
    everyone = ["gateway", *SERVICES]
    out = {(a, b) for a, b in product(everyone, everyone) if _open(cluster, a, b, "egress", GRPC)}
    into = {(a, b) for a, b in product(everyone, everyone) if _open(cluster, b, a, "ingress", GRPC)}
    assert out == wanted
    assert into == wanted


def test_each_service_reaches_its_own_stores_only(cluster: Rendered) -> None:
    for service in SERVICES:
        ports = {port for rule in _rules(cluster, service, "egress") for port in _ports(rule)}
        assert (MONGO in ports) == ("mongo" in STORES.get(service, ())), service
        assert (VALKEY in ports) == ("valkey" in STORES.get(service, ())), service


def test_only_those_with_a_provider_or_a_bucket_reach_the_outside_and_never_the_cluster(
    cluster: Rendered,
) -> None:
    blocks = [
        (service, _ports(rule), peer["ipBlock"])
        for service in ["gateway", *SERVICES]
        for rule in _rules(cluster, service, "egress")
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    outside = {service for service, ports, _ in blocks if ports == [HTTPS]}
    assert outside == {"content", "perform", "synthesis", "voice"}
    private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"}
    for _, ports, block in blocks:
        if ports == [HTTPS]:
            assert private <= set(block["except"]) or ":" in block["cidr"]
        else:
            # Databases, of which it is known where they are.
            assert ports in ([MONGO], [VALKEY])
            assert ip_network(block["cidr"]).prefixlen >= 24


def test_databases_outside_are_reached_by_those_who_keep_something_there_and_only_where_meant(
    cluster: Rendered, variant: str
) -> None:
    for store, port in (("mongo", MONGO), ("valkey", VALKEY)):
        wanted = {name for name in SERVICES if store in STORES[name]} | {
            job["metadata"]["name"] for job in cluster.jobs if store == "mongo"
        }
        reached = {
            keeper["metadata"]["name"]
            for keeper in [*cluster.of("Deployment"), *cluster.jobs]
            for rule in _rules_of(cluster, pod_labels(keeper), "egress")
            if port in _ports(rule) and any("ipBlock" in peer for peer in rule["to"])
        }
        assert reached == (wanted if has(variant, "external-data") else set())


def test_all_may_ask_for_names_and_monitoring_may_read_metrics(cluster: Rendered) -> None:
    (names,) = cluster.named("NetworkPolicy", "names")["spec"]["egress"]
    assert sorted(port["protocol"] for port in names["ports"]) == ["TCP", "UDP"]
    assert _ports(names) == [53, 53]
    (metrics,) = cluster.named("NetworkPolicy", "metrics")["spec"]["ingress"]
    assert _ports(metrics) == [METRICS]


def test_traces_go_to_their_collector_and_nowhere_without_one(cluster: Rendered, variant: str) -> None:
    for name in ["gateway", *SERVICES]:
        (ends, *more) = [rule["to"] for rule in _rules(cluster, name, "egress") if OTLP in _ports(rule)] or [
            []
        ]
        labels = {"newvisions.io/telemetry": "true"}
        wanted = [{"namespaceSelector": {"matchLabels": labels}}] if has(variant, "tracing") else []
        assert (ends, more) == (wanted, [])


def test_addresses_name_services_that_are_there(cluster: Rendered) -> None:
    ports = {
        service["metadata"]["name"]: {port["port"] for port in service["spec"]["ports"]}
        for service in cluster.of("Service")
    }
    for name in SERVICES:
        settings = cluster.named("ConfigMap", name)["data"]
        called = {}
        for setting, value in settings.items():
            if setting.endswith("_ADDRESS"):
                host, _, port = value.removeprefix("dns:///").partition(":")
                assert int(port) in ports[host]
                called[host] = setting
        assert called.keys() == CALLS[name], name
    gateway = gateway_settings(cluster)
    for name, upstream in gateway.upstreams.items():
        host, _, port = upstream.partition(":")
        assert host == f"{name}.newvisions.svc.cluster.local"
        assert int(port) in ports[name]
    listens = {port["name"]: port["containerPort"] for port in containers(_gateway(cluster))[0]["ports"]}
    assert listens == {"http": gateway.listen_port, "metrics": gateway.metrics_port}


def test_certificates_have_the_names_that_callers_ask_for(cluster: Rendered, variant: str) -> None:
    certificates = {
        found["metadata"]["name"]: found["spec"]
        for found in cluster.of("Certificate")
        if found["spec"].get("dnsNames")
    }
    if not has(variant, "mtls"):
        assert certificates == {}
        return
    for name in ["gateway", *SERVICES]:
        assert certificates[name]["dnsNames"] == [name]
        volumes = cluster.named("Deployment", name)["spec"]["template"]["spec"]["volumes"]
        secrets = {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
        assert certificates[name]["secretName"] in secrets


def _gateway(cluster: Rendered) -> Manifest:
    return cluster.named("Deployment", "gateway")


def _rules(cluster: Rendered, name: str, way: str) -> Iterator[Manifest]:
    return _rules_of(cluster, pod_labels(cluster.named("Deployment", name)), way)


def _rules_of(cluster: Rendered, labels: Mapping[str, str], way: str) -> Iterator[Manifest]:
    for policy in cluster.of("NetworkPolicy"):
        if _matches(policy["spec"]["podSelector"], labels):
            yield from policy["spec"].get(way, [])


def _open(cluster: Rendered, pod: str, peer: str, way: str, port: int) -> bool:
    labels = pod_labels(cluster.named("Deployment", peer))
    return any(
        port in _ports(rule)
        and any(_matches(end["podSelector"], labels) for end in _ends(rule) if "podSelector" in end)
        for rule in _rules(cluster, pod, way)
    )


def _ends(rule: Manifest) -> list[Manifest]:
    """Within the namespace: what names another namespace is not one of ours."""
    ends = [*rule.get("to", []), *rule.get("from", [])]
    return [end for end in ends if "namespaceSelector" not in end]


def _ports(rule: Manifest) -> list[int]:
    return [port["port"] for port in rule.get("ports", [])]


def _matches(selector: Manifest, labels: Mapping[str, str]) -> bool:
    plain = selector.get("matchLabels", {}).items() <= labels.items()
    return plain and all(
        labels.get(expression["key"]) in expression["values"]
        for expression in selector.get("matchExpressions", [])
    )
