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

from beft_lib import authoring, runtime  # noqa: E402
from beft_lib.errors import ModelError  # noqa: E402
from beft_lib.quiz_table import QUIZZES  # noqa: E402

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
WIDGETS = {
    "01": "vector_explorer", "02": "attention_explorer", "04": "blind_spots", "05": "cost_calculator",
    "06": "prompt_playground",
}  # fmt: skip
NEEDS = {"06": "tasks = "}  # how the cell begins that makes what a widget is given


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
    """JupyterLab on a folder with the lessons' imports and widgets, as lesson01.ipynb and so on; its address."""
    folder = tmp_path_factory.mktemp("lab")
    for number, widget in WIDGETS.items():
        notebook = authoring.build(authoring.sources()[number], "student")
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        (shown,) = [cell for cell in code if cell.source.startswith(f"{widget}(")]
        needed = [cell for cell in code if number in NEEDS and cell.source.startswith(NEEDS[number])]
        notebook.cells = [*code[:2], *needed, shown]  # what comes between may train
        nbformat.write(notebook, folder / f"lesson{number}.ipynb")
    notebook = authoring.build(authoring.sources()["01"], "student")
    asked = [cell for cell in notebook.cells if cell.source.startswith("beft_lib.quiz(")]
    formula = next(cell for cell in notebook.cells if cell.cell_type == "markdown" and "$" in cell.source)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    notebook.cells = [formula, first, *asked]
    nbformat.write(notebook, folder / "lessonquiz.ipynb")
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
        yield f"{root}/lab/workspaces"
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.fixture
def browser() -> Iterator[Any]:
    """A browser of its own for every test: a page left unsaved by one would complain in the console of the next."""
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


def open_and_run(lab: str, browser: Any, number: str) -> None:
    """A lesson open in the browser, all its cells on their way; in a workspace of its own, where no other tab is."""
    name = f"lesson{number}.ipynb"
    browser.get(f"{lab}/{number}/tree/{name}?token={TOKEN}")
    ready = "const p = window.jupyterapp.shell.currentWidget; return p && p.context.path === arguments[0] && " \
            "p.sessionContext.session.kernel.status === 'idle'"  # fmt: skip
    wait(f"a kernel for {name}", lambda: browser.execute_script(ready, name))
    browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")


def told(browser: Any) -> str:
    """What the picture says of itself."""
    return browser.find_element(By.CSS_SELECTOR, ".widget-html svg[role=img]").get_attribute("aria-label")


def numbers(browser: Any) -> str:
    return browser.find_element(By.CSS_SELECTOR, ".widget-html table").text


def assert_console_is_clean(browser: Any) -> None:
    errors = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert not errors, errors


def handles(browser: Any, count: int) -> list[Any]:
    """The sliders' handles, once all of them are there."""

    def found() -> list[Any] | None:
        there = browser.find_elements(By.CSS_SELECTOR, ".noUi-handle")
        return there if len(there) == count else None

    return wait(f"{count} sliders", found, 240)  # a kernel that imports torch on a busy machine


def test_the_vector_explorer_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "01")
    sliders = handles(browser, 2)
    wait("the picture", lambda: "turned by 40 degrees" in told(browser))
    words = [label.text for label in browser.find_elements(By.CSS_SELECTOR, ".widget-slider .widget-label")]
    assert words == ["Angle to pre (degrees)", "Length of post / of pre"]
    assert "0.617" in numbers(browser)
    sliders[0].send_keys(Keys.ARROW_RIGHT)
    wait("the angle to follow the key", lambda: "turned by 41 degrees" in told(browser), 10)
    browser.execute_script("arguments[0].focus()", sliders[1])
    sliders[1].send_keys(Keys.HOME)
    wait("the length to follow the key", lambda: "post of length 0," in told(browser), 10)
    assert "1.000" in numbers(browser) and "not defined" in numbers(browser)
    browser.save_screenshot(str(tmp_path / "explorer.png"))
    assert_console_is_clean(browser)


def test_the_attention_explorer_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "02")
    sliders = handles(browser, 6)
    wait("the picture", lambda: "b_q (1, 0), b_k (0, 0)" in told(browser))
    words = [label.text for label in browser.find_elements(By.CSS_SELECTOR, ".widget-slider .widget-label")]
    assert words == [f"b_{term}, {which} number" for term in "qkv" for which in ("first", "second")]
    before = numbers(browser)
    browser.execute_script("arguments[0].focus()", sliders[2])
    sliders[2].send_keys(Keys.END)
    wait("the key bias to follow the key", lambda: "b_k (2, 0)" in told(browser), 10)
    assert numbers(browser) == before  # the rule of the lesson: it changes nothing
    browser.find_element(By.CSS_SELECTOR, ".widget-checkbox input").send_keys(Keys.SPACE)
    wait("rotary positions", lambda: "with rotary" in told(browser) and numbers(browser) != before, 10)
    browser.find_element(By.CSS_SELECTOR, ".jupyter-button.widget-button").send_keys(Keys.ENTER)
    wait("the biases at zero", lambda: "b_q (0, 0), b_k (0, 0)" in told(browser), 10)
    browser.save_screenshot(str(tmp_path / "attention.png"))
    assert_console_is_clean(browser)


def test_the_blind_spot_map_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "04")
    sliders = handles(browser, 3)
    wait("the picture", lambda: "Your move takes it to (1.60, 1.20)" in told(browser))
    words = [label.text for label in browser.find_elements(By.CSS_SELECTOR, ".widget-slider .widget-label")]
    assert words == ["Post, first number", "Post, second number", "Twin, percent around"]
    assert numbers(browser).count("the same") == 1
    sliders[0].send_keys(Keys.ARROW_RIGHT)
    wait("the move to follow the key", lambda: "takes it to (1.65, 1.20)" in told(browser), 30)
    browser.find_elements(By.CSS_SELECTOR, ".widget-toggle-buttons button")[1].send_keys(Keys.ENTER)
    wait("the other ruler", lambda: "which has the same magnitude" in told(browser), 30)
    browser.execute_script("arguments[0].focus()", sliders[2])
    sliders[2].send_keys(Keys.HOME)  # at the start of its way the twin is the move itself
    wait("the twin to follow the key", lambda: numbers(browser).count("the same") == 3, 30)
    browser.save_screenshot(str(tmp_path / "blindspots.png"))
    assert_console_is_clean(browser)


def test_the_cost_calculator_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "05")
    sliders = handles(browser, 2)
    wait("the picture", lambda: "of bert-base-cased, batch 16, 128 tokens" in told(browser))
    names = ".widget-dropdown .widget-label, .widget-slider .widget-label"
    words = [label.text for label in browser.find_elements(By.CSS_SELECTOR, names)]
    assert words == ["Model", "Method", "Examples a step", "Tokens of each"]
    assert "9,216 parameters (0.0085% of the model)" in numbers(browser)
    sliders[0].send_keys(Keys.ARROW_RIGHT)
    wait("the batch to follow the key", lambda: "batch 32" in told(browser), 10)
    model, method = browser.find_elements(By.CSS_SELECTOR, ".widget-dropdown select")
    method.send_keys(Keys.END)
    wait("the method to follow the key", lambda: "Chosen: full" in told(browser), 10)
    assert "the whole model" in numbers(browser)
    model.send_keys(Keys.END)
    wait("the model to follow the key", lambda: "of opt-6.7b" in told(browser), 10)
    browser.save_screenshot(str(tmp_path / "costs.png"))
    assert_console_is_clean(browser)


def test_the_prompt_playground_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    try:
        runtime.find_model("opt")
    except ModelError:
        pytest.skip("no language model here (pocket-opt is not built)")
    open_and_run(lab, browser, "06")
    example, shots = handles(browser, 2)

    def prompt() -> str:
        return browser.find_element(By.CSS_SELECTOR, ".beft-prompt").get_attribute("aria-label")

    wait("the prompt", lambda: "of cb, example 1" in prompt() and "1 of 1 demonstrations" in prompt())
    labels = browser.find_elements(By.CSS_SELECTOR, ".widget-slider .widget-label, .widget-dropdown .widget-label")
    assert [label.text for label in labels] == ["Task", "Example", "Demonstrations"]
    browser.execute_script("arguments[0].focus()", example)
    example.send_keys(Keys.ARROW_RIGHT)
    wait("the next example", lambda: "of cb, example 2" in prompt(), 20)
    browser.execute_script("arguments[0].focus()", shots)
    shots.send_keys(Keys.END)
    wait("what does not fit to be told", lambda: "did not fit" in prompt(), 20)
    assert "did not fit" in numbers(browser)
    browser.find_element(By.CSS_SELECTOR, ".widget-dropdown select").send_keys("sst2")
    wait("another task", lambda: "of sst2, example 2" in prompt() and "great" in numbers(browser), 20)
    browser.save_screenshot(str(tmp_path / "playground.png"))
    assert_console_is_clean(browser)


def test_the_quick_questions_answer_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "quiz")
    questions = QUIZZES["01"]
    count = sum(len(question.answers) for question in questions)

    def radios() -> list[Any] | None:
        there = browser.find_elements(By.CSS_SELECTOR, ".widget-radio-box input")
        return there if len(there) == count else None

    def told() -> str:
        return "".join(one.text.strip() for one in browser.find_elements(By.CSS_SELECTOR, ".widget-html [aria-live]"))

    first = wait("the answers", radios, 240)[0]
    assert not told()
    first.send_keys(Keys.SPACE)  # JupyterLab keeps the arrows for itself: every answer can be reached by Tab
    answers = list(questions[0].answers.values())
    wait("what is said to the first answer", lambda: told() == answers[0], 10)
    first.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    wait("what is said to the second", lambda: told() == answers[1], 10)
    assert [radio.is_selected() for radio in radios()[:3]] == [False, True, False]
    browser.save_screenshot(str(tmp_path / "quiz.png"))
    assert_console_is_clean(browser)
