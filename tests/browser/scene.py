"""A platform with real data for browsers: photos, labels, a model, predictions, jobs, people."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Locator, Page

from loopline.client.sync import Loopline

ROOT = Path(__file__).parents[2]
DATA = ROOT / "examples" / "data"
LOOPLINE = str(Path(sys.executable).parent / "loopline")
START_TIMEOUT_S = 120
WAIT_S = 60
TRACE_URL = "http://127.0.0.1:1/traces/{trace_id}"  # nobody is there, and nobody asks
PASSWORD = "correct horse battery"
TRAIN, TEST, UNLABELED = 300, 60, 130
TRAINING = {"epochs": 4, "batch_size": 32}
PEOPLE = {"ada": "labeler", "grace": "labeler", "rhea": "reviewer", "vera": "viewer"}


def eventually(tell: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    """Return what `tell` says once it is truthy."""
    until = time.monotonic() + timeout_s
    while True:
        said = tell()
        if said:
            return said
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.05)


def in_sight(page: Page, node: str) -> Locator:
    """Return a card of the graph, all of which is shown: what is out of sight is not drawn."""
    card = page.locator(f'[data-id="{node}"]')

    def is_drawn() -> bool:
        page.get_by_role("button", name="Fit", exact=True).click()
        return card.count() == 1

    eventually(is_drawn)
    return card


@dataclass
class Scene:
    """A running platform.

    Attributes:
        data_dir: Its data folder.
        console: Where its console answers.
        states: Name of a person to what their browser keeps.
    """

    data_dir: Path
    console: str
    predictions: str = ""
    states: dict[str, dict[str, Any]] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, person: str = "admin") -> Any:
        """Ask the console's API as a person."""
        with self._client(person) as client:
            answer = client.request(method, path, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def put_file(self, path: str, data: bytes) -> None:
        """Upload a file."""
        with self._client("admin") as client:
            answer = client.put(path, content=data)
        assert answer.is_success, answer.text

    def open_job(self, job: str, **asked: Any) -> None:
        """Open a labeling job over the unlabeled photos, with the model's predictions."""
        given = {
            "job": job, "dataset": "shop", "where": "!item.labeled",
            "predictions": self.predictions, "shapes": ["whole_image"], **asked,
        }  # fmt: skip
        self.ask("POST", "/api/jobs", given)

    def has(self, dataset: str) -> bool:
        """Tell whether there is a dataset of this name."""
        return self.versions("datasets", dataset) > 0

    def versions(self, of: str, name: str) -> int:
        """Return how many versions one of the "datasets" or "models" has."""
        known = self.ask("GET", f"/api/{of}")[of]
        return next((int(one["versions"]) for one in known if one["name"] == name), 0)

    def bring(self, dataset: str, files: dict[str, bytes]) -> None:
        """Import files as a dataset's next version."""
        before = self.versions("datasets", dataset)
        upload = self.ask("POST", "/api/imports/uploads")["id"]
        for path, data in files.items():
            self.put_file(f"/api/imports/uploads/{upload}/files/{path}", data)
        labels = next((path for path in files if path.startswith("labels.")), "")
        asked = {"dataset": dataset, "upload": upload, "labels_key": labels}
        self.ask("POST", "/api/imports", asked)
        eventually(lambda: self.versions("datasets", dataset) > before)

    def done(self, job: str) -> int:
        """Return how many items of a job have labels."""
        counts = self.ask("GET", f"/api/jobs/{job}")["counts"]
        return int(counts["submitted"] + counts["accepted"])

    def kill(self, service: str) -> None:
        """Kill a service's process; the supervisor starts it again."""
        told = subprocess.run(
            [LOOPLINE, "status", "--data", str(self.data_dir), "--json"],
            capture_output=True, text=True, check=True, timeout=WAIT_S,
        )  # fmt: skip
        processes = json.loads(told.stdout)["processes"]
        pid = next(one["pid"] for one in processes if one["name"].startswith(service))
        os.kill(pid, signal.SIGKILL)

    def sign_in(self, name: str, session: dict[str, Any], cookies: httpx.Cookies) -> None:
        """Keep a person's session for browsers and for `ask`."""
        kept = [
            {"name": cookie.name, "value": cookie.value or "", "url": self.console}
            for cookie in cookies.jar
        ]
        self.states[name] = {"csrf": session["csrf_token"], "cookies": kept}

    def _client(self, person: str) -> httpx.Client:
        state = self.states[person]
        return httpx.Client(
            base_url=self.console,
            cookies={one["name"]: one["value"] for one in state["cookies"]},
            headers={"x-csrf-token": state["csrf"], "origin": self.console},
            timeout=WAIT_S,
        )


@contextmanager
def running(data_dir: Path) -> Iterator[Scene]:
    """Start a platform, sign its people in, and fill it."""
    command = [LOOPLINE, "up", "--detach", "--data", str(data_dir)]
    started = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S,
        env={**os.environ, "LOOPLINE_TRACE_URL": TRACE_URL},
    )  # fmt: skip
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        link = re.search(r"(http://\S+?)/sign-in#token=(\S+)", started.stdout)
        assert link, started.stdout
        scene = Scene(data_dir, link[1])
        _sign_in_everybody(scene, link[2])
        _fill(scene)
        yield scene
    finally:
        down = [LOOPLINE, "down", "--data", str(data_dir)]
        subprocess.run(down, check=False, timeout=START_TIMEOUT_S, capture_output=True)


def _sign_in_everybody(scene: Scene, token: str) -> None:
    headers = {"origin": scene.console}
    with httpx.Client(base_url=scene.console, headers=headers) as client:
        session = client.post("/api/session/one-time", json={"token": token})
        scene.sign_in("admin", session.json(), client.cookies)
    for name, role in PEOPLE.items():
        person = {"name": name, "role": role, "password": PASSWORD}
        scene.ask("POST", "/api/users", person)
        with httpx.Client(base_url=scene.console, headers=headers) as client:
            said = client.post("/api/session", json={"name": name, "password": PASSWORD})
            scene.sign_in(name, said.json(), client.cookies)


def _fill(scene: Scene) -> None:
    scene.bring("shop", _photos())
    nuclei = DATA / "nuclei"
    files = {
        path.relative_to(nuclei).as_posix(): path.read_bytes()
        for path in nuclei.rglob("*.*")
        if path.suffix in (".png", ".json")
    }
    scene.bring("nuclei", files)
    with Loopline.connect(scene.data_dir) as loopline:
        loopline.train("shop", "shop", parameters=TRAINING)
        loopline.model.promote("shop@v1", "champion")
        loopline.apply("shop", "shop", where="!item.labeled")
    scene.predictions = eventually(lambda: _predictions(scene))


def _predictions(scene: Scene) -> str:
    nodes = scene.ask("GET", "/api/workflow")["nodes"]
    return next((node["name"] for node in nodes if node["kind"] == "predictions"), "")


def _photos() -> dict[str, bytes]:
    """Return product photos, the first of them with labels."""
    with zipfile.ZipFile(DATA / "fashion" / "catalogue.zip") as archive:
        index = list(csv.DictReader(io.StringIO(archive.read("index.csv").decode())))
        chosen = index[: TRAIN + TEST + UNLABELED]
        labels = io.StringIO()
        rows = csv.writer(labels)
        rows.writerow(["file", "class", "split"])
        for at, row in enumerate(chosen[: TRAIN + TEST]):
            rows.writerow([row["file"], row["class"], "train" if at < TRAIN else "test"])
        files = {row["file"]: archive.read(row["file"]) for row in chosen}
    return {**files, "labels.csv": labels.getvalue().encode()}
