"""The page of a bundle in headless Chromium: at two widths, in both schemes, from the keyboard, without a network."""

import base64
import hashlib
import json
import re
import shutil
import subprocess

import pytest

from optics4f.report import Report
from optics4f.report.metrics import design_section
from optics4f.report.of_bundle import run_report
from tests.optics4f.report_pages import write_files

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]
WIDTHS = (360, 1600)
DARK = {"light": 1, "dark": 0}  # Chromium's numbers of its preferred colour schemes

# What a reader with a keyboard does, in a copy of the page; the answers go to the frame around it.
PROBE = """
const lists = [...document.querySelectorAll("[role=tablist]")];
const press = (key) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
const shown = (element) => element.getClientRects().length > 0;
const walked = lists.filter(shown).map((list) => {
  const tabs = [...list.querySelectorAll("[role=tab]")], last = tabs.length - 1, steps = [];
  const state = () => {
    const chosen = tabs.filter((tab) => tab.getAttribute("aria-selected") === "true");
    const open = tabs.filter((tab) => shown(document.getElementById(tab.getAttribute("aria-controls"))));
    const reached = tabs.filter((tab) => tab.tabIndex === 0);
    const one = [chosen, open, reached, [document.activeElement]].every((l) => l.length === 1 && l[0] === chosen[0]);
    return one ? tabs.indexOf(chosen[0]) : "not one tab";
  };
  tabs[0].focus();
  for (const key of ["ArrowRight", "End", "ArrowRight", "ArrowLeft", "Home"]) { press(key); steps.push(state()); }
  return {name: list.getAttribute("aria-label"), last, steps};
});
const masks = lists.filter((list) => list.getAttribute("aria-label") === "Mask");
masks[0].children[1].click();
const followed = masks.map((list) => [...list.children].findIndex((tab) => tab.ariaSelected === "true"));
const luminance = (colour) => {
  const [r, g, b] = colour.match(/[0-9.]+/g).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const paper = getComputedStyle(document.body).backgroundColor;
const contrast = (selector) => {
  const style = getComputedStyle(document.querySelector(selector));
  const behind = style.backgroundColor === "rgba(0, 0, 0, 0)" ? paper : style.backgroundColor;
  const [dim, bright] = [luminance(style.color), luminance(behind)].sort((a, b) => a - b);
  return (bright + 0.05) / (dim + 0.05);
};
const chosen = "[role=tab][aria-selected=true]";
const measure = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
const beyond = [measure()];
document.querySelectorAll("details").forEach((box) => { box.open = true; });
document.querySelectorAll("[role=tabpanel]").forEach((panel) => { panel.hidden = false; });
beyond.push(measure());
const images = [...document.images];
Promise.all(images.map((image) => image.decode().catch(() => {}))).then(() => parent.postMessage({
  width: window.innerWidth, beyond, walked, followed,
  dark: matchMedia("(prefers-color-scheme: dark)").matches, paper: luminance(paper),
  contrasts: Object.fromEntries(["p", "caption", "a", "figcaption", ".axes .ticks", chosen, chosen + " + [role=tab]"]
    .map((selector) => [selector, contrast(selector)])),
  images: images.length, bare: images.filter((image) => !image.alt.trim()).length,
  broken: images.filter((image) => image.naturalWidth === 0).length,
  tables: [...document.querySelectorAll("table")].filter((table) => {
    const box = table.parentElement;
    return !(["auto", "scroll"].includes(getComputedStyle(box).overflowX) && box.tabIndex === 0);
  }).length,
  requests: performance.getEntriesByType("resource").map((entry) => entry.name)
    .filter((name) => !name.startsWith("data:")),
}, "*"));
"""
AROUND = """<!DOCTYPE html><meta charset="utf-8"><body><script>
const found = [];
addEventListener("message", (event) => {{ found.push(event.data);
  document.body.dataset.found = JSON.stringify(found); }});
</script>{frames}</body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_files(folder)
    files = {"measured": folder / "measured.h5", "metrics": folder / "metrics.json"}
    return run_report(folder / "masks.h5", folder / "page.html", **files)


def browse(path, folder, *, scheme="light"):
    """The page after its scripts, and what Chromium wrote to its console."""
    options = [
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1700,1200", "--virtual-time-budget=20000"),
        *("--enable-logging=stderr", "--v=0", f"--user-data-dir={folder / 'profile'}"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", f"--blink-settings=preferredColorScheme={DARK[scheme]}"),
    ]
    command = [CHROMIUM, *options, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.stdout.strip(), done.stderr[-2000:]
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def with_script(html, script):
    """A copy that runs one script more, and allows it."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = html.replace("script-src '", f"script-src 'sha256-{digest}' '", 1)
    return html.replace("</body>", f"<script>{script}</script></body>")


def probed(html, folder, scheme):
    """Answers of the probe, by width: frames are as narrow as asked for, windows are not."""
    folder.mkdir(exist_ok=True)
    (folder / "copy.html").write_text(with_script(html, PROBE))
    frames = "".join(f'<iframe src="copy.html" width="{width}" height="800"></iframe>' for width in WIDTHS)
    (folder / "around.html").write_text(AROUND.format(frames=frames))
    dom, console = browse(folder / "around.html", folder, scheme=scheme)
    assert console == []
    data = re.search(r'data-found="([^"]*)"', dom)
    assert data, "the probe gave no answer"
    return {answer["width"]: answer for answer in json.loads(data[1].replace("&quot;", '"'))}


@pytest.fixture(scope="module", params=["light", "dark"])
def answers(request, page, tmp_path_factory):
    found = probed(page.read_text(), tmp_path_factory.mktemp(request.param), request.param)
    assert set(found) == set(WIDTHS)
    return request.param, found


def test_nothing_is_wider_than_the_window_and_tables_scroll_by_themselves(answers):
    for answer in answers[1].values():
        assert answer["beyond"] == [0, 0]  # with one panel of each open, and with all
        assert answer["tables"] == 0


def test_every_picture_is_there_and_has_words(answers):
    for answer in answers[1].values():
        assert answer["images"] > 50
        assert (answer["bare"], answer["broken"]) == (0, 0)
        assert answer["requests"] == []


def test_tabs_are_walked_with_arrows_home_and_end(answers):
    for answer in answers[1].values():
        names = [walk["name"] for walk in answer["walked"]]
        assert {"Wavelength", "Plane", "Image", "Mask"} <= set(names)
        for walk in answer["walked"]:
            last = walk["last"]
            assert walk["steps"] == [min(1, last), last, 0, last, 0], walk["name"]


def test_a_mask_chosen_once_is_chosen_everywhere(answers):
    for answer in answers[1].values():
        assert len(answer["followed"]) > 3
        assert set(answer["followed"]) == {1}


def test_text_is_legible_in_either_scheme(answers):
    scheme, found = answers
    for answer in found.values():
        assert answer["dark"] == (scheme == "dark")
        assert (answer["paper"] < 0.1) == (scheme == "dark")
        # WCAG 2.2, 1.4.3: 4.5 to 1.
        assert {name: ratio for name, ratio in answer["contrasts"].items() if ratio < 4.5} == {}


def test_the_page_itself_is_silent_and_asks_for_nothing(page, tmp_path):
    html = page.read_text()
    assert not re.search(r"""(src|href|srcset|data)\s*=\s*["']?(https?:)?//""", html)
    dom, console = browse(page, tmp_path)
    assert console == []
    assert dom.count('role="tab"') > 10


def test_what_is_wrong_with_a_page_is_found(page, tmp_path):
    html = page.read_text()
    wide = html.replace("<main ", "<pre>" + "x" * 400 + '</pre><img alt="" src="https://example.org/x.png"><main ', 1)
    (tmp_path / "wrong.html").write_text(wide)
    _, console = browse(tmp_path / "wrong.html", tmp_path)
    assert any("example.org" in line for line in console)


def test_focus_is_seen_wherever_it_goes(page, tmp_path):
    # In the window itself: of frames beside each other only one has the focus.
    script = """
    document.querySelectorAll("details").forEach((box) => { box.open = true; });
    const stops = [...document.querySelectorAll("a, summary, .scroll, [role=tab]")].filter(
      (element) => element.tabIndex === 0 && element.getClientRects().length);
    document.body.dataset.unseen = stops.filter((element) => {
      element.focus();
      const style = getComputedStyle(element);
      return document.activeElement !== element || style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2;
    }).length;
    document.body.dataset.stops = stops.length;
    """
    (tmp_path / "focus.html").write_text(with_script(page.read_text(), script))
    dom, _ = browse(tmp_path / "focus.html", tmp_path)
    assert int(re.search(r'data-stops="(\d+)"', dom)[1]) > 20
    assert 'data-unseen="0"' in dom


def test_without_scripts_all_panels_are_shown(page, tmp_path):
    html = page.read_text()
    without = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    count = "document.body.dataset.shown = [...document.querySelectorAll('.panel')].filter(p => p.offsetHeight).length"
    (tmp_path / "plain.html").write_text(with_script(without, count))
    dom, _ = browse(tmp_path / "plain.html", tmp_path)
    assert int(re.search(r'data-shown="(\d+)"', dom)[1]) == html.count('class="panel"') > 20


def test_numbers_of_a_design_fit_into_a_narrow_window(tmp_path):
    page = Report("Report")
    design_section(page, {"method": "weighted_gs", "kernel_cosine": [1.0, 0.9999], "output_cosine": [0.9994, 0.9]})
    rows = [{"kernel": "0 +", "centre (y, x)": "(-34, -17)", "camera rows": "11 ... 42", "columns": "48 ... 79"}]
    page.table(rows, caption="Plan")
    widths = """parent.postMessage({width: window.innerWidth, over: [...document.querySelectorAll(".scroll")]
      .map((box) => box.scrollWidth - box.clientWidth)}, "*");"""
    (tmp_path / "copy.html").write_text(
        page.html()
        .replace("</body>", f"<script>{widths}</script></body>")
        .replace("img-src data:", "script-src 'unsafe-inline'; img-src data:")
    )
    frames = '<iframe src="copy.html" width="360" height="800"></iframe>'
    (tmp_path / "around.html").write_text(AROUND.format(frames=frames))
    dom, _ = browse(tmp_path / "around.html", tmp_path)
    (answer,) = json.loads(re.search(r'data-found="([^"]*)"', dom)[1].replace("&quot;", '"'))
    assert answer == {"width": 360, "over": [0, 0]}
