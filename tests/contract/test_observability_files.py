"""deploy/observability: whom Prometheus asks, where traces go and what Compose mounts fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from loopline.contracts.catalog import SERVICES
from loopline.embedded.deployment import HTTP_PORT
from loopline.embedded.services import PREFERRED_HTTP

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDER = DEPLOY / "observability"
PROFILE = ("collector", "tempo", "prometheus", "grafana")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def scraped(name: str) -> dict[str, Any]:
    [job] = [j for j in read(FOLDER / name)["scrape_configs"] if j["job_name"] == "loopline"]
    assert isinstance(job, dict)
    return job


def compose() -> dict[str, Any]:
    services = read(DEPLOY / "compose.yaml")["services"]
    assert isinstance(services, dict)
    return services


def test_every_service_of_compose_is_asked_at_its_port() -> None:
    [names] = scraped("prometheus.yaml")["dns_sd_configs"]
    assert set(names["names"]) == set(SERVICES)
    assert names["port"] == HTTP_PORT


def test_every_service_of_this_machine_is_asked_at_its_usual_port() -> None:
    asked = {
        target["labels"]["service"]: target["targets"]
        for target in scraped("prometheus.local.yaml")["static_configs"]
    }
    assert asked == {name: [f"127.0.0.1:{port}"] for name, port in PREFERRED_HTTP.items()}
    assert set(asked) == set(SERVICES)


def test_only_the_profile_starts_them_and_what_it_mounts_is_there() -> None:
    services = compose()
    started = {name for name, each in services.items() if "profiles" in each}
    assert started == set(PROFILE)
    for name in PROFILE:
        assert services[name]["profiles"] == ["observability"]
        assert ":" in services[name]["image"], "by version"
        for volume in services[name]["volumes"]:
            here = volume.partition(":")[0]
            if here.startswith("./"):
                assert (DEPLOY / here).exists(), here
                assert volume.endswith(":ro")


def test_traces_go_from_services_over_the_collector_to_tempo() -> None:
    collector = read(FOLDER / "collector.yaml")
    pipeline = collector["service"]["pipelines"]["traces"]
    for part in ("receivers", "processors", "exporters"):
        assert set(pipeline[part]) <= collector[part].keys()
    assert pipeline["processors"][0] == "memory_limiter", "first: it refuses what does not fit"
    [exporter] = pipeline["exporters"]
    host, _, port = collector["exporters"][exporter]["endpoint"].partition(":")
    assert host in compose()
    tempo = read(FOLDER / "tempo.yaml")["distributor"]["receivers"]["otlp"]["protocols"]
    assert tempo["grpc"]["endpoint"].endswith(f":{port}")
    for name in SERVICES:
        assert "LOOPLINE_OTLP_ENDPOINT" in compose()[name]["environment"]


def test_panels_have_places_of_their_own_and_links_that_can_be_read() -> None:
    for path in (FOLDER / "grafana" / "dashboards").glob("*.json"):
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(path.read_text())["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken, (path.name, panel["title"])
            assert max(x for x, _ in cells) < 24
            taken |= cells
            for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", ()):
                [panes] = parse_qs(urlsplit(link["url"]).query)["panes"]
                [query] = json.loads(panes)["a"]["queries"]
                assert query["query"].startswith("{ resource.loopline.service = ")
