"""The built book with the network shut off: every page is there, search finds, and widgets move with no kernel."""

import re

import pytest
from sliders import shown_picture

LESSON = "notebooks/06_forward_diffusion.html"


@pytest.fixture
def offline(page):
    """A page that can open files and nothing else; what it asked the net for is in `page.asked`."""
    page.asked = []

    def answer(route):
        if route.request.url.startswith(("file:", "data:", "blob:")):
            return route.continue_()
        page.asked.append(route.request.url)
        return route.abort()

    page.route("**/*", answer)
    return page


def test_the_noise_schedule_moves_with_no_kernel_and_no_network(site, offline):
    offline.goto((site / LESSON).as_uri())
    handle = offline.locator(".noUi-handle").first
    handle.wait_for()
    handle.scroll_into_view_if_needed()
    before = shown_picture(offline, handle)
    handle.press("ArrowRight")
    offline.wait_for_timeout(500)
    after = shown_picture(offline, handle)
    assert before["alt"] and after["alt"]
    assert before["src"] != after["src"], "the slider moved and the picture stayed the same"
    assert offline.complaints == []


def test_every_page_is_there_and_asks_the_net_for_no_script(site):
    pages = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    assert {"index.html", "glossary.html", "notation.html", "zoo.html", "claims.html", "search.html", LESSON} <= pages
    assert "api/diffusion.html" in pages
    for path in site.rglob("*.html"):
        assert re.findall(r'<(?:script|link rel="stylesheet")[^>]+(?:src|href)="https?://[^"]+', path.read_text()) == []


def test_pages_open_with_their_formulas_and_without_a_complaint(site, offline):
    lessons = sorted((site / "notebooks").glob("*.html"))
    for path in [site / "index.html", site / "glossary.html", site / "notation.html", *lessons]:
        offline.goto(path.as_uri())
        if 'class="math' in path.read_text():
            offline.wait_for_selector("mjx-container svg", state="attached")
        wrong = offline.locator("[data-mjx-error]").evaluate_all("all => all.map(e => e.dataset.mjxError)")
        assert wrong + offline.complaints == [], path.name


def test_search_finds_a_term(site, offline):
    offline.goto((site / "search.html").as_uri() + "?q=codebook")
    offline.wait_for_selector("#search-results li a")
    assert "Glossary" in offline.locator("#search-results").inner_text()
