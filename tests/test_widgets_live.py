"""The widgets in a real JupyterLab in headless Chromium: run the lesson, move a slider by keyboard, see it answer."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (pip install selenium)")
pytest.importorskip("jupyterlab")
pytest.importorskip("ipywidgets")

from beft_lib import authoring  # noqa: E402

By = pytest.importorskip("selenium.webdriver.common.by").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("no Chromium with ChromeDriver (Debian: chromium, chromium-driver)", allow_module_level=True)
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1300,1400"
).split()
SETTINGS = {"@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"}}  # every output is in the page
TOKEN = "for-this-test-only"


def wait(what: str, answer: Callable[[], Any], seconds: float = 90) -> Any:
    """The first answer that is true; a failure that says what was waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := answer():
                return found
        except Exception:  # a page that is still being built
            pass
        time.sleep(0.1)
    return pytest.fail(f"waited {seconds} s for {what}")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab on a folder with lesson 01 up to its widget; the address of that notebook."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = authoring.build(authoring.sources()["01"], "student")
    last = next(i for i, cell in enumerate(notebook.cells) if cell.source.startswith("vector_explorer("))
    notebook.cells = notebook.cells[: last + 1]
    nbformat.write(notebook, folder / "lesson.ipynb")
    for name, content in SETTINGS.items():
        path = folder / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    config = folder / "config" / "labconfig" / "page_config.json"
    config.parent.mkdir(parents=True)
    news = {"@jupyterlab/apputils-extension:announcements": True}  # asks a server, and the user
    config.write_text(json.dumps({"disabledExtensions": news}), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {"LAB_SETTINGS": "settings", "_CONFIG": "config", "LAB_WORKSPACES": "spaces", "_RUNTIME": "runtime"}
    environment = {**os.environ, "PYTHONPATH": str(Path(authoring.__file__).parents[1])}
    environment |= {f"JUPYTER{name}_DIR": str(folder / place) for name, place in places.items()}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root",
             "--expose-app-in-browser", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"],
            stdout=log, stderr=log, env=environment, cwd=folder,
        )  # fmt: skip
    try:
        root = f"http://127.0.0.1:{port}"
        wait("JupyterLab", lambda: urllib.request.urlopen(f"{root}/api?token={TOKEN}", timeout=2).status == 200)
        yield f"{root}/lab/tree/lesson.ipynb?token={TOKEN}"
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def test_the_vector_explorer_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    browser.get(lab)
    kernel = "const p = window.jupyterapp.shell.currentWidget; return p && p.sessionContext.session && " \
             "p.sessionContext.session.kernel && p.sessionContext.session.kernel.status"  # fmt: skip
    wait("a kernel", lambda: browser.execute_script(kernel) == "idle")
    browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")

    sliders = wait("two sliders", lambda: two(browser.find_elements(By.CSS_SELECTOR, ".noUi-handle")))
    picture = wait("the picture", lambda: browser.find_element(By.CSS_SELECTOR, ".widget-html svg[role=img]"))
    assert "turned by 40 degrees" in picture.get_attribute("aria-label")
    words = [label.text for label in browser.find_elements(By.CSS_SELECTOR, ".widget-slider .widget-label")]
    assert words == ["Angle to pre (degrees)", "Length of post / of pre"]
    before = browser.find_element(By.CSS_SELECTOR, ".widget-html table").text
    assert "0.617" in before

    def told() -> str:
        return browser.find_element(By.CSS_SELECTOR, ".widget-html svg[role=img]").get_attribute("aria-label")

    sliders[0].send_keys(Keys.ARROW_RIGHT)
    wait("the angle to follow the key", lambda: "turned by 41 degrees" in told(), 10)
    browser.execute_script("arguments[0].focus()", sliders[1])
    sliders[1].send_keys(Keys.HOME)
    wait("the length to follow the key", lambda: "post of length 0," in told(), 10)
    after = browser.find_element(By.CSS_SELECTOR, ".widget-html table").text
    assert "1.000" in after and "not defined" in after
    browser.save_screenshot(str(tmp_path / "explorer.png"))
    errors = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert not errors, errors


def two(found: list[Any]) -> list[Any] | None:
    return found if len(found) == 2 else None
