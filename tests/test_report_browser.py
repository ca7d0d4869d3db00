"""The page in a real browser, Chromium by playwright: nothing on its console, nothing asked of a network, everything works
by mouse and by keyboard at 390 and 1400 px, axe finds nothing serious, and hostile names are text."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import Error as BrowserError
from test_report import HOSTILE, ISOLATES, made

from benchmarks.many_runs import many_runs
from competition import artifacts, data
from competition.report.page import report

pytestmark = pytest.mark.slow
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync",
         "--disable-component-update")  # fmt: skip
WIDTHS = (390, 1400)
THEMES = ("light", "dark")
expect.set_options(timeout=30_000)  # two tests at once on two slow cores


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    """The system's Chromium, or playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except BrowserError as e:
            pytest.fail(f"no browser: install Chromium, or give `python -m playwright install chromium`\n{e}")
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Generator[Callable[..., Page]]:
    """Opens a page, and says at the end of the test what went to its console or to a network."""
    told: list[str] = []

    def opened(html: str, width: int = 1400, theme: str = "light", fragment: str = "") -> Page:
        file = tmp_path / "report.html"
        file.write_text(html, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 844},
            color_scheme=theme,  # ty: ignore
            reduced_motion="reduce",
            permissions=["clipboard-read", "clipboard-write"],
        )
        page = context.new_page()
        page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("dialog", lambda dialog: (told.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda r: None if r.url.startswith((file.as_uri(), "data:")) else told.append(r.url))
        page.goto(file.as_uri() + fragment)
        return page

    yield opened
    for context in browser.contexts:
        context.close()
    assert not told, "\n".join(told)


@pytest.fixture(scope="module")
def html() -> str:
    return made()


def scroll_through(page: Page) -> None:
    """Until every chart that stands on the page is drawn."""
    for plot in page.locator(".plot:visible").all():
        plot.scroll_into_view_if_needed()
        expect(plot.locator("svg.main-svg").first).to_be_visible()


def texts(page: Page, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def test_charts_are_drawn_when_they_come_near(show: Callable[..., Page], html: str) -> None:
    page = show(html)
    expect(page.locator("#first .plot svg.main-svg").first).to_be_visible()
    assert page.locator("#run-first .plot svg").count() == 0
    scroll_through(page)
    assert page.locator("#run-first .plot").count() == 2  # of the other run none is there
    assert page.locator("#first .plot .bars path").count() == 2
    page.locator("#first .plot").nth(1).hover()
    expect(page.locator("#first .hoverlayer .hovertext").first).to_be_visible()


def test_tables_sort_by_click_and_by_keyboard(show: Callable[..., Page], html: str) -> None:
    page = show(html)
    table = page.locator("#first table")
    score, rows = table.get_by_role("button", name="score"), table.get_by_role("button", name="rows")
    before = texts(page, "#first tbody tr td:nth-child(2)")
    score.click()
    expect(table.locator("th[scope=col]").nth(1)).to_have_attribute("aria-sort", "ascending")
    up = texts(page, "#first tbody tr td:nth-child(2)")
    assert up == [*sorted((cell for cell in before if cell != "–"), key=float), "–"]
    names = texts(page, "#first tbody tr th")
    assert names[:2] == ["class 0", "class 7"]  # equal ones stay in their order
    score.focus()
    page.keyboard.press("Enter")
    down = texts(page, "#first tbody tr td:nth-child(2)")
    assert down == [*up[-2::-1], "–"]  # a gap is last both ways
    assert texts(page, "#first tbody tr th")[-3:-1] == ["class 7", "class 14"]
    page.keyboard.press("Tab")
    expect(rows).to_be_focused()
    page.keyboard.press("Space")
    numbers = texts(page, "#first tbody tr td:nth-child(3)")
    assert numbers == sorted(numbers, key=lambda text: int(text.replace(",", "")))
    table.get_by_role("button", name="class").click()
    assert texts(page, "#first tbody tr th") == [f"class {n}" for n in range(20)]  # 2 before 10
    expect(table.locator("th[aria-sort=ascending]")).to_have_count(1)


def test_a_table_is_filtered(show: Callable[..., Page], html: str) -> None:
    page = show(html)
    page.locator("#first").get_by_label("Filter").fill("CLASS 1")
    expect(page.locator("#first tbody tr:visible")).to_have_count(11)
    expect(page.locator("#first output")).to_have_text("11 of 20 rows")


def test_a_gallery_is_filtered_and_shows_layers(show: Callable[..., Page], html: str) -> None:
    page = show(html)
    gallery, tiles = (
        page.locator("#second .gallery").first,
        page.locator("#second .gallery").first.locator("li:visible"),
    )
    count = gallery.locator("output")
    expect(tiles).to_have_count(10)
    expect(gallery.locator(".missing")).to_have_text(["no picture class"] * 2)
    gallery.get_by_label("Truth").select_option("cat")
    expect(tiles).to_have_count(5)
    expect(count).to_have_text("5 of 10")
    gallery.get_by_label("Predicted").select_option("class")
    expect(tiles).to_have_count(2)
    gallery.get_by_label("Truth").select_option("all")
    gallery.get_by_label("Predicted").select_option("all")
    gallery.get_by_label("Kind").select_option("sure")
    expect(tiles).to_have_count(5)
    gallery.get_by_label("Id").fill("Class4")
    expect(tiles).to_have_count(1)
    layers = gallery.get_by_role("button", name="What the model looked at", exact=True)
    expect(tiles.locator(".layer")).to_be_hidden()
    layers.click()
    expect(tiles.locator(".layer")).to_be_visible()
    expect(layers).to_have_attribute("aria-pressed", "true")


def test_a_tile_opens_large_and_arrows_go_on(show: Callable[..., Page], html: str) -> None:
    page = show(html)
    gallery, viewer = page.locator("#second .gallery").first, page.get_by_role("dialog")
    gallery.get_by_role("button", name="Enlarge class1", exact=True).focus()
    page.keyboard.press("Enter")
    expect(viewer.get_by_role("heading")).to_have_text("class1")
    expect(viewer.locator("img:visible")).to_have_count(2)  # the picture, and what the model looked at
    page.keyboard.press("ArrowRight")
    expect(viewer.get_by_role("heading")).to_have_text("class2")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(viewer.get_by_role("heading")).to_have_text("class9")  # class0 has no picture
    viewer.get_by_role("button", name="Next").click()
    expect(viewer.get_by_role("heading")).to_have_text("class1")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(gallery.get_by_role("button", name="Enlarge class1", exact=True)).to_be_focused()


def test_the_chosen_run_is_kept_in_the_address(show: Callable[..., Page], html: str) -> None:
    page = show(html)
    assert page.locator("#run-first .blocks").count() == 1
    page.get_by_label("Run in detail").focus()
    page.keyboard.press("ArrowDown")
    other = page.get_by_label("Run in detail").input_value()
    assert other.startswith("<∕script>")
    expect(page.locator("#run-first [data-run-name]")).to_have_text(other)
    expect(page.locator("#run-first .blocks:visible")).to_have_attribute("data-run", "1")
    scroll_through(page)
    page.get_by_role("navigation").get_by_role("link", name="Second").nth(1).click()
    page.wait_for_url("**#run-second:*")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    assert page.get_by_label("Run in detail").input_value() == other
    expect(page.locator("#run-second h2")).to_be_in_viewport()
    page.get_by_label("Run in detail").select_option(index=0)
    expect(page.locator("#run-second .blocks:visible")).to_have_attribute("data-run", "0")
    assert page.url.endswith(":base")


def test_the_theme_is_the_systems_and_can_be_changed(show: Callable[..., Page], html: str) -> None:
    page = show(html, theme="dark")
    letters = page.locator("#first .plot .xtick text").first
    expect(letters).to_have_css("fill", "rgb(163, 173, 184)")
    button = page.get_by_role("button", name="Dark")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(page.locator("body")).to_have_css("background-color", "rgb(246, 247, 248)")
    expect(letters).to_have_css("fill", "rgb(86, 96, 107)")
    page.emulate_media(color_scheme="light")
    button.click()
    expect(letters).to_have_css("fill", "rgb(163, 173, 184)")


def test_a_card_copies(show: Callable[..., Page], html: str) -> None:
    page = show(html)
    card = page.locator("#second .card")
    card.locator("summary").focus()
    page.keyboard.press("Enter")
    card.get_by_role("button", name="Copy").click()
    expect(card.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "make class\n"


def test_contents_fold_on_a_phone(show: Callable[..., Page], html: str) -> None:
    page = show(html, width=390)
    contents = page.get_by_role("navigation")
    expect(contents).to_be_hidden()
    page.get_by_role("button", name="Contents").click()
    contents.get_by_role("link", name="Second").nth(1).click()
    expect(contents).to_be_hidden()
    expect(page.locator("#run-second h2")).to_be_in_viewport()


def test_all_charts_are_there_in_print(show: Callable[..., Page], html: str) -> None:
    page = show(html, theme="dark")
    expect(page.locator("#first .plot svg.main-svg").first).to_be_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(page.locator(".plot svg.main-svg").first).to_be_visible()
    assert page.locator(".plot[data-look]").count() == 4
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.locator("body")).to_have_css("background-color", "rgb(17, 20, 23)")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(show: Callable[..., Page], html: str, width: int) -> None:
    for page in (show(html, width), show(made("".join(HOSTILE)), width)):
        scroll_through(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_serious(show: Callable[..., Page], html: str, width: int, theme: str) -> None:
    page = show(html, width, theme)
    scroll_through(page)
    page.locator("summary").evaluate_all("all => all.forEach(one => one.parentNode.open = true)")
    assert not serious(page)
    page.locator(".open:visible").first.click()
    assert not serious(page)


def serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {node['html'][:200]}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a small competition with two runs and their blend, with all that the report has to say of them."""
    folder = tmp_path_factory.mktemp("many")
    name = many_runs(folder, runs=3, folds=2, rows=300, classes=3)
    with contextlib.chdir(folder):
        report(name)
        data.load.cache_clear()
        return (artifacts.RUNS / name / "report.html").read_text()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_of_a_competition(show: Callable[..., Page], whole: str, width: int, theme: str) -> None:
    page = show(whole, width, theme)
    runs = page.get_by_label("Run in detail")
    assert runs.locator("option").count() == 3
    for n in range(3):
        runs.select_option(index=n)
        scroll_through(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert not serious(page)


def test_an_address_opens_its_section_and_run(show: Callable[..., Page], whole: str) -> None:
    page = show(whole, fragment="#run-mistakes:run01")
    assert page.get_by_label("Run in detail").input_value() == "run01"
    expect(page.locator("#run-mistakes h2")).to_be_in_viewport()
    expect(page.get_by_role("navigation").get_by_role("link", name="Mistakes")).to_have_attribute(
        "aria-current", "true"
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text(show: Callable[..., Page], name: str) -> None:
    from competition.errors import visible

    seen = visible(name).encode(errors="backslashreplace").decode()
    page = show(made(name))
    scroll_through(page)
    assert page.locator("h1").inner_text() == seen
    assert page.locator("#first .prose p").first.inner_text().translate(ISOLATES) == seen
    page.locator("#second .open").first.click()
    assert page.locator("#viewer-title").inner_text() == f"{seen}1"
    assert page.locator("b, script[src], img[onerror], img:not([src^='data:'])").count() == 0
