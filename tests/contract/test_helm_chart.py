"""deploy/helm: rendered by Helm's own library, held against Kubernetes' schemas and the catalog."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python import Chart, HelmError, lint

from loopline.contracts import catalog
from loopline.contracts.catalog import EVENTS, SERVICES
from loopline.embedded.deployment import write_deployment
from loopline.runtime.settings import ServiceSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "loopline"
KUBERNETES = ("1.29", "1.37")
"""The oldest release that Chart.yaml allows, and the newest whose schemas are here."""
CLUSTER_OF_OTHERS = {"keda.sh/v1alpha1", "monitoring.coreos.com/v1"}
"""What comes with KEDA and the Prometheus operator: Kubernetes has no schema for it."""
Document = dict[str, Any]

EVERYTHING: Mapping[str, Any] = {
    "workspace": "shop",
    "pools": ["default", "a100"],
    "image": {"repository": "registry.example.org/loopline", "tag": "1.2.3"},
    "imagePullSecrets": [{"name": "registry"}],
    "secrets": {"prefix": "shop"},
    "nats": {"url": "tls://nats.bus:4222", "monitoring": "nats.bus:8222", "replicas": 3},
    "s3": {"endpoint": "s3.example.org", "secure": True},
    "serviceAccount": {"annotations": {"a": "b"}},
    "telemetry": {
        "otlpEndpoint": "http://collector:4317",
        "otlpMetricsEndpoint": "http://collector:4317",
        "traceUrl": "https://grafana.example.org/{trace_id}",
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "workloads": {
        "annotate": {
            "service": "annotate",
            "databaseSecret": "annotate-db",
            "scaling": {"enabled": True, "min": 1, "max": 3, "lagThreshold": 16},
        },
        "trainer": None,
        "trainer-a100": {
            "service": "trainer",
            "pool": "a100",
            "concurrency": 1,
            "labels": {"gpu": "a100", "site": "lab"},
            "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A100"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "32Gi"}},
            "sharedMemory": "8Gi",
            "scaling": {"enabled": True, "min": 0, "max": 2, "lagThreshold": 1},
        },
        "inference": {"service": "inference", "tlsSecret": "inference-tls"},
        "console": {"service": "console", "databaseSecret": "console-db", "replicas": 2},
        "lineage": {"service": "lineage", "env": [{"name": "LOOPLINE_KEEPALIVE_S", "value": "5"}]},
    },
    "keda": {"enabled": True, "prometheus": "http://prometheus:9090"},
    "networkPolicy": {
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        "consoleFrom": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
        "inferenceFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    },
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "loopline.example.org",
        "tlsSecret": "console-tls",
    },
}
PAGE = (DEPLOY.parent / "docs" / "kubernetes.md").read_text()
[SHOWN] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CASES = pytest.mark.parametrize(
    "values",
    [
        pytest.param("{}", id="default"),
        pytest.param(json.dumps(EVERYTHING), id="everything"),
        pytest.param(json.dumps(yaml.safe_load(SHOWN)), id="as the page shows"),
    ],
)


@cache
def chart() -> Chart:
    return Chart.load(CHART)


@cache
def rendered(values: str) -> tuple[Document, ...]:
    files = chart().render(json.loads(values), name="loopline", namespace="ml")
    texts = [text for path, text in files.items() if path.endswith(".yaml")]
    return tuple(each for text in texts for each in yaml.safe_load_all(text) if each)


def of_kind(values: str, kind: str) -> dict[str, Document]:
    found = [each for each in rendered(values) if each["kind"] == kind]
    return {each["metadata"]["name"]: each for each in found}


def pods(values: str) -> dict[str, Document]:
    """Return the pod of every Deployment and Job, by name."""
    found = of_kind(values, "Deployment") | of_kind(values, "Job")
    return {name: each["spec"]["template"] for name, each in found.items()}


def told(pod: Document) -> dict[str, str | None]:
    [container] = pod["spec"]["containers"]
    return {each["name"]: each.get("value") for each in container["env"]}


@CASES
def test_helm_finds_nothing_to_mend(values: str) -> None:
    report = lint(CHART, json.loads(values), strict=True)
    found = [each["error"] for each in report["messages"]] + report["errors"]
    assert found == ["icon is recommended"]


@CASES
@pytest.mark.parametrize("release", KUBERNETES)
def test_kubernetes_takes_every_object(values: str, release: str) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in rendered(values)]
    assert len(names) == len(set(names))
    for document in rendered(values):
        if document["apiVersion"] not in CLUSTER_OF_OTHERS:
            kubernetes_validate.validate(document, release, strict=True)


@CASES
def test_every_service_runs_its_own_image_with_its_own_secret(values: str) -> None:
    given = chart().merge_values(json.loads(values))
    deployments = of_kind(values, "Deployment")
    seen = set()
    for deployment in deployments.values():
        pod = deployment["spec"]["template"]
        service = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        [container] = pod["spec"]["containers"]
        assert container["image"].split(":")[0] == f"{given['image']['repository']}/{service}"
        [source] = container["envFrom"]
        assert source["secretRef"]["name"] == f"{given['secrets']['prefix']}-{service}"
        seen.add(service)
    assert seen == set(SERVICES)


@CASES
def test_nothing_runs_with_more_rights_than_it_needs(values: str) -> None:
    for pod in pods(values).values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        [container] = pod["spec"]["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounts = {each["name"] for each in container["volumeMounts"]}
        assert mounts == {each["name"] for each in pod["spec"]["volumes"]}
        assert container["resources"]["limits"]["memory"]


@CASES
def test_variables_are_settings_that_the_service_has(values: str) -> None:
    """A variable that nobody reads is a setting that silently does nothing."""
    for name, pod in pods(values).items():
        service = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        known = {f"LOOPLINE_{field.upper()}" for field in settings_of(service).model_fields}
        assert told(pod).keys() - {"HOME"} <= known, name


def settings_of(service: str) -> type[ServiceSettings]:
    if service == "admin":
        from loopline.embedded.administer import AdminSettings

        return AdminSettings
    module = __import__(f"services.{service}.settings", fromlist=["settings"])
    [found] = [
        each
        for each in vars(module).values()
        if isinstance(each, type)
        and issubclass(each, ServiceSettings)
        and each.__module__ == module.__name__
    ]
    return found


@CASES
def test_kubernetes_own_variables_are_kept_out(values: str) -> None:
    """For a Service `loopline-console` there would be a LOOPLINE_CONSOLE_PORT in every pod."""
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in pods(values).values())


@CASES
def test_probes_ask_what_a_service_answers(values: str) -> None:
    for deployment in of_kind(values, "Deployment").values():
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        paths = {
            probe: container[probe]["httpGet"]["path"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert paths == {
            "startupProbe": "/healthz",
            "livenessProbe": "/healthz",
            "readinessProbe": "/readyz",
        }
        assert str(ports["http"]) == told(deployment["spec"]["template"])["LOOPLINE_HTTP_PORT"]


@CASES
def test_a_pod_outlives_its_drain(values: str) -> None:
    drain_s = ServiceSettings.model_fields["drain_s"].default
    for deployment in of_kind(values, "Deployment").values():
        assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > drain_s


@CASES
def test_services_find_the_pods_they_are_for(values: str) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(values).values()]
    selecting = of_kind(values, "Service")
    assert {"loopline-annotate", "loopline-lineage"} <= selecting.keys()
    for service in selecting.values():
        chosen = service["spec"]["selector"].items()
        assert [each for each in labels if chosen <= each.items()], service["metadata"]["name"]
    url = told(pods(values)["loopline-console"])
    for name in ("annotate", "lineage"):
        assert url[f"LOOPLINE_{name.upper()}_URL"] == f"http://loopline-{name}:8080"
    assert told(pods(values)["loopline-annotate"])["LOOPLINE_INFERENCE_GRPC"] == (
        "loopline-inference:8001"
    )


@CASES
def test_who_asks_another_service_is_let_out_and_in(values: str) -> None:
    policies = of_kind(values, "NetworkPolicy")

    def let(asking: str, asked: str, port: int) -> bool:
        out = policies[f"loopline-{asking}"]["spec"]["egress"]
        come = policies[f"loopline-{asked}"]["spec"]["ingress"]
        return any(_lets(rule, "to", asked, port) for rule in out) and any(
            _lets(rule, "from", asking, port) for rule in come
        )

    assert let("console", "annotate", 8080)
    assert let("console", "lineage", 8080)
    assert let("annotate", "inference", 8001)
    assert not let("trainer", "annotate", 8080)
    for port in (29_500, 32_768, 60_999):  # of a rendezvous, and what Linux gives out by itself
        assert let("trainer", "trainer", port)
        assert not let("ingest", "trainer", port)
        assert not let("ingest", "ingest", port)


def _lets(rule: Document, direction: str, service: str, port: int) -> bool:
    chosen = [
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for peer in rule.get(direction, ())
        if "podSelector" in peer
    ]
    return service in chosen and any(
        each["port"] <= port <= each.get("endPort", each["port"]) for each in rule["ports"]
    )


@CASES
def test_trainers_are_reached_at_their_pods_own_address(values: str) -> None:
    """127.0.0.1, the default, is for agents of one machine: they would share with nobody."""
    for pod in pods(values).values():
        [container] = pod["spec"]["containers"]
        given = [each for each in container["env"] if each["name"] == "LOOPLINE_ADVERTISE_HOST"]
        is_trainer = pod["metadata"]["labels"]["app.kubernetes.io/component"] == "trainer"
        address = {"fieldRef": {"fieldPath": "status.podIP"}}
        assert [each.get("valueFrom") for each in given] == [address] * is_trainer


@CASES
def test_agents_take_no_requests_but_of_those_that_share_a_training(values: str) -> None:
    policies = of_kind(values, "NetworkPolicy")
    assert {name.removeprefix("loopline-") for name in policies} == {*SERVICES, "admin"}
    metrics = json.loads(values).get("networkPolicy", {}).get("metricsFrom")
    figures = [{"from": metrics, "ports": [{"port": 8080}]}] if metrics else []
    trainer = policies["loopline-trainer"]["spec"]
    shared = {
        "from": [{"podSelector": trainer["podSelector"]}],
        "ports": [{"port": 1024, "endPort": 65_535, "protocol": "TCP"}],
    }
    assert trainer["ingress"] == [*figures, shared]
    assert not policies["loopline-admin"]["spec"]["ingress"]
    for policy in policies.values():
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        for rule in policy["spec"]["ingress"]:
            assert rule["from"], "an empty list is everybody"


def test_scaled_workloads_are_scaled_by_the_consumers_of_the_catalog() -> None:
    values = json.dumps(EVERYTHING)
    scaled = of_kind(values, "ScaledObject")
    assert set(scaled) == {
        *("loopline-annotate", "loopline-inference", "loopline-ingest"),
        *("loopline-router", "loopline-trainer-a100"),
    }
    for name, each in scaled.items():
        deployment = of_kind(values, "Deployment")[name]
        service = deployment["spec"]["template"]["metadata"]["labels"][
            "app.kubernetes.io/component"
        ]
        pool = told(deployment["spec"]["template"])["LOOPLINE_POOL"] or ""
        assert "replicas" not in deployment["spec"], "two would decide how many there are"
        assert each["spec"]["scaleTargetRef"] == {"name": name}
        wanted = {
            (str(event.stream), event.durable_name(service, "shop", pool))
            for event in EVENTS
            for durable in event.durables
            if durable.service == service and event is not catalog.SEND_NOTIFICATION
        }
        assert wanted
        assert {
            (trigger["metadata"]["stream"], trigger["metadata"]["consumer"])
            for trigger in each["spec"]["triggers"]
            if trigger["type"] == "nats-jetstream"
        } == wanted


def test_keda_is_told_in_its_own_words() -> None:
    scaled = of_kind(json.dumps(EVERYTHING), "ScaledObject")
    for each in scaled.values():
        assert each["spec"].keys() == {
            *("scaleTargetRef", "pollingInterval", "cooldownPeriod"),
            *("minReplicaCount", "maxReplicaCount", "triggers"),
        }
        for trigger in each["spec"]["triggers"]:
            assert all(isinstance(value, str) for value in trigger["metadata"].values())
            if trigger["type"] == "nats-jetstream":
                assert trigger["metadata"].keys() == {
                    *("natsServerMonitoringEndpoint", "account", "stream", "consumer"),
                    *("lagThreshold", "activationLagThreshold"),
                }
                assert "//" not in trigger["metadata"]["natsServerMonitoringEndpoint"]
    kinds = [trigger["type"] for trigger in scaled["loopline-inference"]["spec"]["triggers"]]
    assert kinds.count("prometheus") == 1


@CASES
def test_figures_get_the_labels_that_alerts_and_dashboards_know(values: str) -> None:
    for monitor in of_kind(values, "PodMonitor").values():
        part = monitor["spec"]["jobLabel"]
        for pod in pods(values).values():
            assert pod["metadata"]["labels"][part] == "loopline"
        [endpoint] = monitor["spec"]["podMetricsEndpoints"]
        [label] = endpoint["relabelings"]
        assert label["targetLabel"] == "service"
        assert label["sourceLabels"] == [
            "__meta_kubernetes_pod_label_" + re.sub(r"\W", "_", "app.kubernetes.io/component")
        ]


@CASES
def test_secrets_are_those_that_the_deployment_writes(values: str, tmp_path: Path) -> None:
    write_deployment(tmp_path / "generated", nats_url="nats://bus:4222", s3_endpoint="storage:8333")
    prefix = chart().merge_values(json.loads(values))["secrets"]["prefix"]
    written = {path.stem for path in (tmp_path / "generated").iterdir()}
    for pod in pods(values).values():
        [container] = pod["spec"]["containers"]
        names = [container["envFrom"][0]["secretRef"]["name"]]
        names += [
            volume["secret"]["secretName"]
            for volume in pod["spec"]["volumes"]
            if volume["name"] == "connections"
        ]
        assert {name.removeprefix(f"{prefix}-") for name in names} <= written


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param({"nats": {"url": "http://nats"}}, "nats", id="no address of a bus"),
        pytest.param({"nats": {"url": "nats://u:p@nats:4222"}}, "nats", id="a secret in values"),
        pytest.param({"worklods": {}}, "worklods", id="a slip of the pen"),
        pytest.param({"workloads": {"x": {"service": "nothing"}}}, "service", id="no such service"),
        pytest.param(
            {"workloads": {"ingest": {"service": "ingest", "pool": "gpu"}}},
            "pool",
            id="no such pool",
        ),
        pytest.param(
            {"workloads": {"console": {"service": "console", "replicas": 2}}},
            "databaseSecret",
            id="two consoles with a file each",
        ),
        pytest.param(
            {
                "keda": {"enabled": True},
                "workloads": {
                    "annotate": {
                        "service": "annotate",
                        "scaling": {"enabled": True, "min": 1, "max": 2, "lagThreshold": 1},
                    }
                },
            },
            "databaseSecret",
            id="a volume for several",
        ),
        pytest.param({"ingress": {"enabled": True}}, "host", id="an ingress without a name"),
    ],
)
def test_values_that_cannot_work_are_refused(values: Document, reason: str) -> None:
    with pytest.raises(HelmError, match=reason):
        install(values)


def install(values: Document) -> None:
    chart().validate_schema(values)
    chart().render(values, name="loopline", namespace="ml")
