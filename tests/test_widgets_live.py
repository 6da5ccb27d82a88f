"""The widgets in a real JupyterLab in headless Chromium: run the lesson, move a slider by keyboard, see it answer."""

from __future__ import annotations

import json
import os
import re
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
from beft_lib.architectures import FAMILIES  # noqa: E402
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
    "01": "vector_explorer", "02": "attention_explorer", "03": "trajectory_player", "04": "blind_spots",
    "05": "cost_calculator", "06": "prompt_playground", "07": "model_inspector",
}  # fmt: skip
NEEDS = {"06": "tasks = "}  # how the cell begins that makes what a widget is given
MADE = {  # or, where that cell trains for long, a short one in its place
    "03": 'task = load_task("sst2", n_train=32)\n'
    'result = probe(load_model("bert", task), task, max_steps=20, learning_rate=0.02, every=1, progress=False)'
}


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
        made = [nbformat.v4.new_code_cell(MADE[number])] if number in MADE else []
        notebook.cells = [*code[:2], *needed, *made, shown]  # what comes between may train
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


def keep_and_check(browser: Any, picture: Path) -> None:
    """How every test ends: a picture of the page, for whoever wants to see it, and no error in the console."""
    browser.save_screenshot(str(picture))
    errors = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert not errors, errors


def assert_readable_at_200_percent(browser: Any) -> None:
    """Zoom, which leaves half the width: nothing is cut off at the right, and no letters of a picture shrink."""
    size = {"width": 650, "height": 700, "deviceScaleFactor": 2, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wait("the narrow page", lambda: browser.execute_script("return window.innerWidth") == 650, 10)
    cut = """
        const parts = [...document.querySelectorAll('.widget-html svg[role=img], .widget-html table')];
        parts[0].scrollIntoView();
        const edge = parts[0].closest('.jp-OutputArea-output').getBoundingClientRect().right;
        return parts.filter(part => part.getBoundingClientRect().right > edge + 1).map(part => part.tagName)"""
    wait("everything to fit", lambda: browser.execute_script(cut) == [], 10)
    letters = browser.find_elements(By.CSS_SELECTOR, ".widget-html svg[role=img] text")
    assert letters and min(text.rect["height"] for text in letters) > 10


def controls(browser: Any, selector: str, count: int) -> list[Any]:
    """The controls, once all of them are there."""

    def found() -> list[Any] | None:
        there = browser.find_elements(By.CSS_SELECTOR, selector)
        return there if len(there) == count else None

    return wait(f"{count} controls {selector}", found, 240)  # a kernel that imports torch on a busy machine


def handles(browser: Any, count: int) -> list[Any]:
    return controls(browser, ".noUi-handle", count)


def labels(browser: Any) -> list[str]:
    """What is written beside sliders and lists."""
    there = browser.find_elements(By.CSS_SELECTOR, ":is(.widget-slider, .widget-dropdown) .widget-label")
    return [label.text for label in there]


def press(browser: Any, control: Any, keys: str) -> None:
    """The keys, in a control that has been given the focus."""
    browser.execute_script("arguments[0].focus()", control)
    control.send_keys(keys)


def choose(browser: Any, chooser: Any, keys: str) -> None:
    """From a list, opened first: arrows and letters on a closed one are the notebook's own ("x" cuts the cell)."""
    press(browser, chooser, Keys.SPACE)
    wait("the list to open", lambda: browser.execute_script("return arguments[0].matches(':open')", chooser), 10)
    browser.switch_to.active_element.send_keys(keys, Keys.ENTER)


def test_the_vector_explorer_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "01")
    sliders = handles(browser, 2)
    wait("the picture", lambda: "turned by 40 degrees" in told(browser))
    assert labels(browser) == ["Angle to pre (degrees)", "Length of post / of pre"]
    assert "0.617" in numbers(browser)
    sliders[0].send_keys(Keys.ARROW_RIGHT)
    wait("the angle to follow the key", lambda: "turned by 41 degrees" in told(browser), 10)
    press(browser, sliders[1], Keys.HOME)
    wait("the length to follow the key", lambda: "post of length 0," in told(browser), 10)
    assert "1.000" in numbers(browser) and "not defined" in numbers(browser)
    keep_and_check(browser, tmp_path / "explorer.png")


def test_the_attention_explorer_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "02")
    sliders = handles(browser, 6)
    wait("the picture", lambda: "b_q (1, 0), b_k (0, 0)" in told(browser))
    assert labels(browser) == [f"b_{term}, {which} number" for term in "qkv" for which in ("first", "second")]
    before = numbers(browser)
    press(browser, sliders[2], Keys.END)
    wait("the key bias to follow the key", lambda: "b_k (2, 0)" in told(browser), 10)
    assert numbers(browser) == before  # the rule of the lesson: it changes nothing
    browser.find_element(By.CSS_SELECTOR, ".widget-checkbox input").send_keys(Keys.SPACE)
    wait("rotary positions", lambda: "with rotary" in told(browser) and numbers(browser) != before, 10)
    browser.find_element(By.CSS_SELECTOR, ".jupyter-button.widget-button").send_keys(Keys.ENTER)
    wait("the biases at zero", lambda: "b_q (0, 0), b_k (0, 0)" in told(browser), 10)
    keep_and_check(browser, tmp_path / "attention.png")


def test_the_trajectory_player_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "03")
    step, layer = handles(browser, 2)
    wait("the picture", lambda: "Step 20 of 20, mean of" in told(browser))
    assert labels(browser) == ["Step", "Layer"]
    (chosen,) = re.findall(r"BEFT would now choose (\w+)", told(browser))
    assert numbers(browser).count("yes") == 1
    press(browser, step, Keys.HOME)
    wait("the step to follow the key", lambda: "Step 0 of 20" in told(browser), 30)
    assert "no choice yet" in told(browser) and "yes" not in numbers(browser)
    press(browser, step, Keys.ARROW_RIGHT)
    wait("the next step", lambda: "Step 1 of 20" in told(browser) and "loss 0." in told(browser), 30)
    press(browser, layer, Keys.ARROW_RIGHT)
    wait("the layer to follow the key", lambda: "Step 1 of 20, layer 0" in told(browser), 30)
    (play,) = browser.find_elements(By.CSS_SELECTOR, ".widget-toggle-button")
    assert play.text == "Play"
    spoken = "return document.querySelector('.widget-html [aria-live]').getAttribute('aria-live')"
    press(browser, play, Keys.SPACE)
    wait("it to play, without a word", lambda: (play.text, browser.execute_script(spoken)) == ("Pause", "off"), 30)
    press(browser, play, Keys.SPACE)
    wait("it to pause", lambda: (play.text, browser.execute_script(spoken)) == ("Play", "polite"), 30)
    assert "Step 20 of 20" not in told(browser)
    press(browser, play, Keys.ENTER)
    wait("it to play to the end", lambda: "Step 20 of 20, layer 0" in told(browser), 60)
    wait("the button to be up again", lambda: (play.text, browser.execute_script(spoken)) == ("Play", "polite"), 30)
    assert f"would now choose {chosen}" in told(browser)
    keep_and_check(browser, tmp_path / "player.png")
    assert_readable_at_200_percent(browser)
    keep_and_check(browser, tmp_path / "player-200.png")


def test_the_blind_spot_map_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "04")
    sliders = handles(browser, 3)
    wait("the picture", lambda: "Your move takes it to (1.60, 1.20)" in told(browser))
    assert labels(browser) == ["Post, first number", "Post, second number", "Twin, percent around"]
    assert numbers(browser).count("the same") == 1
    sliders[0].send_keys(Keys.ARROW_RIGHT)
    wait("the move to follow the key", lambda: "takes it to (1.65, 1.20)" in told(browser), 30)
    browser.find_elements(By.CSS_SELECTOR, ".widget-toggle-buttons button")[1].send_keys(Keys.ENTER)
    wait("the other ruler", lambda: "which has the same magnitude" in told(browser), 30)
    press(browser, sliders[2], Keys.HOME)  # at the start of its way the twin is the move itself
    wait("the twin to follow the key", lambda: numbers(browser).count("the same") == 3, 30)
    keep_and_check(browser, tmp_path / "blindspots.png")


def test_the_cost_calculator_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "05")
    sliders = handles(browser, 2)
    wait("the picture", lambda: "of bert-base-cased, batch 16, 128 tokens" in told(browser))
    assert labels(browser) == ["Model", "Method", "Examples a step", "Tokens of each"]
    assert "9,216 parameters (0.0085% of the model)" in numbers(browser)
    sliders[0].send_keys(Keys.ARROW_RIGHT)
    wait("the batch to follow the key", lambda: "batch 32" in told(browser), 10)
    model, method = browser.find_elements(By.CSS_SELECTOR, ".widget-dropdown select")
    method.send_keys(Keys.END)
    wait("the method to follow the key", lambda: "Chosen: full" in told(browser), 10)
    assert "the whole model" in numbers(browser)
    model.send_keys(Keys.END)
    wait("the model to follow the key", lambda: "of opt-6.7b" in told(browser), 10)
    keep_and_check(browser, tmp_path / "costs.png")


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
    assert labels(browser) == ["Task", "Example", "Demonstrations"]
    press(browser, example, Keys.ARROW_RIGHT)
    wait("the next example", lambda: "of cb, example 2" in prompt(), 20)
    press(browser, shots, Keys.END)
    wait("what does not fit to be told", lambda: "did not fit" in prompt(), 20)
    assert "did not fit" in numbers(browser)
    browser.find_element(By.CSS_SELECTOR, ".widget-dropdown select").send_keys("sst2")
    wait("another task", lambda: "of sst2, example 2" in prompt() and "great" in numbers(browser), 20)
    keep_and_check(browser, tmp_path / "playground.png")


def test_the_model_inspector_answers_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "07")
    family, term = controls(browser, ".widget-dropdown select", 2)
    wait("the picture", lambda: "One layer of gpt_neox," in told(browser))
    assert labels(browser) == ["Family", "Bias to train"]

    def hatched() -> int:
        return len(browser.find_elements(By.CSS_SELECTOR, ".widget-html svg[role=img] rect[fill='url(#dead)']"))

    wait("what was measured", lambda: numbers(browser).count("yes, by up to") == 2, 30)  # partly turned: b_k is alive
    choose(browser, family, Keys.ARROW_UP)
    wait("the family to follow the key", lambda: "of gpt2," in told(browser) and hatched() == 4, 30)
    assert "32 of 32 numbers can do nothing" in told(browser)
    wait("what was measured of it", lambda: numbers(browser).count("not at all") == 2, 30)
    choose(browser, term, Keys.ARROW_DOWN)
    wait("the term to follow the key", lambda: "Trained: the value blocks" in told(browser), 30)
    wait("what b_v can do", lambda: "training b_v" in numbers(browser) and numbers(browser).count("yes, by") == 1, 30)
    assert numbers(browser).count("not at all") == 1  # the attention of its own layer
    keep_and_check(browser, tmp_path / "inspector.png")
    longest = list(FAMILIES).index("falcon") - list(FAMILIES).index("gpt2")  # the longest paths
    choose(browser, family, Keys.ARROW_DOWN * longest)
    wait("falcon and its numbers", lambda: "of falcon," in told(browser) and "falcon-rw" in numbers(browser), 30)
    assert_readable_at_200_percent(browser)
    keep_and_check(browser, tmp_path / "inspector-200.png")


def test_the_quick_questions_answer_the_keyboard(lab: str, browser: Any, tmp_path: Path) -> None:
    open_and_run(lab, browser, "quiz")
    questions = QUIZZES["01"]
    count = sum(len(question.answers) for question in questions)

    def told() -> str:
        return "".join(one.text.strip() for one in browser.find_elements(By.CSS_SELECTOR, ".widget-html [aria-live]"))

    radios = controls(browser, ".widget-radio-box input", count)
    first = radios[0]
    assert not told()
    first.send_keys(Keys.SPACE)  # JupyterLab keeps the arrows for itself: every answer can be reached by Tab
    answers = list(questions[0].answers.values())
    wait("what is said to the first answer", lambda: told() == answers[0], 10)
    first.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    wait("what is said to the second", lambda: told() == answers[1], 10)
    assert [radio.is_selected() for radio in radios[:3]] == [False, True, False]
    keep_and_check(browser, tmp_path / "quiz.png")
