"""Writes the gateway's Envoy configuration from the contracts and its settings.

`python -m gateway.render --settings settings.json --out envoy.yaml`
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.client import client_routes, largest, read_client
from gateway.limits import buckets, rate_limits
from gateway.pages import pages
from gateway.replies import local_reply_config
from gateway.routes import DEFAULT_BODY_KIB, Route, read_routes
from gateway.settings import SERVICES, GatewaySettings, Limits, load_settings
from gateway.table import markdown
from gateway.virtual_host import TYPES, virtual_host

__all__ = ["GatewaySettings", "Limits", "load_settings", "render"]

HERE = Path(__file__).parent


def render(settings: GatewaySettings, environment: Mapping[str, str] = MappingProxyType({})) -> str:
    """The whole configuration as YAML. The same contracts, settings and process give the same text."""
    routes, files = read_routes(Path(settings.descriptors)), read_client(settings.client)
    # Not autoescaped: this writes YAML, and every value goes through `tojson`.
    templates = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True)  # noqa: S701  # nosec B701
    return templates.get_template("envoy.yaml.j2").render(
        settings=settings,
        upstreams=[_upstream(name, settings.upstreams[name]) for name in SERVICES],
        telemetry=_upstream("telemetry", settings.otlp) if settings.otlp else None,
        traced=_traced(environment),
        virtual_host=virtual_host(routes, settings, pages(Path(settings.descriptors)), client_routes(files)),
        most_page_bytes=largest(files),
        rate_limits=rate_limits(),
        buckets=buckets(settings.limits) if settings.limits else [],
        default_body_bytes=DEFAULT_BODY_KIB * 1024,
        transcoder=_transcoder(routes, settings),
        local_replies=local_reply_config({file.content_type for file in files}),
        lua=_known_origins(settings) + _lua("memory", "edge"),
        exchange_lua=f"local COOKIE = {json.dumps(settings.cookie_name)}\n" + _lua("memory", "exchange"),
    )


def _traced(environment: Mapping[str, str]) -> dict[str, str]:
    """What traces say of this process: in OpenTelemetry's own variable, from which services have it too."""
    told = environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    pairs = [pair.partition("=") for pair in told.split(",") if "=" in pair]
    return {"service.namespace": "newvisions"} | {key.strip(): unquote(value) for key, _, value in pairs}


def _lua(*names: str) -> str:
    """As one text: a filter can load no file."""
    return "".join((HERE / f"{name}.lua").read_text() for name in names)


def _known_origins(settings: GatewaySettings) -> str:
    """The first line of the filter: it has no other way to learn of a setting."""
    known = ", ".join(f"[{json.dumps(origin)}] = true" for origin in settings.cors_origins)
    return f"local ORIGINS = {{{known}}}\n"


def _transcoder(routes: list[Route], settings: GatewaySettings) -> dict[str, Any]:
    return {
        "@type": f"{TYPES}filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(Path(settings.descriptors).resolve()),
        "services": sorted({route.service_name for route in routes}),
        # The routes are those of the HTTP rules, not of the gRPC methods behind them.
        "match_incoming_request_route": True,
        "convert_grpc_status": True,
        "print_options": {"always_print_primitive_fields": True},
        "request_validation_options": {
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
        },
        # Each route's own limit was kept before; this one does not count what its parser holds.
        "max_request_body_size": max(route.max_body_kib for route in routes) * 1024,
    }


def _upstream(name: str, address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"the address of {name} is not host:port: {address!r}")
    return {"name": name, "host": host.strip("[]"), "port": int(port)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the gateway's configuration.")
    parser.add_argument("--settings", type=Path, help="a JSON file with GatewaySettings, or a folder of them")
    parser.add_argument("--out", type=Path, help="where the configuration goes")
    parser.add_argument("--routes", action="store_true", help="print the route table as Markdown instead")
    parser.add_argument("--descriptors", type=Path, default=Path("gen/edge.pb"))
    asked = parser.parse_args()
    if asked.routes:
        sys.stdout.write(markdown(read_routes(asked.descriptors)))
    elif asked.settings and asked.out:
        asked.out.write_text(render(load_settings(asked.settings), os.environ))
    else:
        parser.error("give --settings and --out, or --routes")


if __name__ == "__main__":
    main()
