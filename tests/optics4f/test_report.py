"""The page: well-formed, self-contained, and safe with any text."""

import base64
import struct
import zlib
from html.parser import HTMLParser

import pytest

from optics4f.report import Report

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
HOSTILE = """</title></style><script>alert("1")</script> & 'x' " onerror="alert(2)"""


def picture(width=3, height=2):
    """A grey PNG, written by hand."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\x00" + bytes(width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


class Page(HTMLParser):
    """Every element with its attributes and text; refuses tags that do not balance."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(html)
        self.close()
        assert not self.open, [name for name, _, _ in self.open]

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, text in self.open:
            text.append(data)

    def all(self, *tags):
        return [(attributes, "".join(text)) for tag, attributes, text in self.elements if tag in tags]

    def texts(self, *tags):
        return [text for _, text in self.all(*tags)]


def full_report(text="Some text"):
    report = Report(text, text)
    report.paragraph(text)
    report.section(text, text)
    report.table([{"a": text, "b": 1.5}, {"a": "x", "b": None}], {"a": text, "b": "b"}, caption=text)
    report.section(text)
    report.figure(picture(), text, text)
    report.keyvalues({text: text})
    return report


@pytest.mark.parametrize("text", ["Some text", HOSTILE])
def test_the_page_is_well_formed_and_accessible(text):
    html = full_report(text).html()
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert page.all("html")[0][0]["lang"] == "en"
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [a for a, _ in page.all("meta")]
    assert page.texts("h1") == [text]
    assert page.texts("h2") == ["Contents", text, text]
    assert all(attributes["alt"].strip() for attributes, _ in page.all("img"))
    names = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    links = [attributes["href"] for attributes, _ in page.all("a")]
    assert len(links) == 3
    assert {link.removeprefix("#") for link in links} <= set(names)


@pytest.mark.parametrize("text", ["Some text", HOSTILE, "https://example.org/x.png url(https://example.org)"])
def test_the_page_asks_the_network_for_nothing_and_runs_no_script(text):
    page = Page(full_report(text).html())
    for tag, attributes, _ in page.elements:
        assert tag not in {"script", "iframe", "object", "embed", "base", "form"}
        assert not [name for name in attributes if name.startswith("on") or name in {"srcset", "style"}]
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    (style,) = page.texts("style")
    assert "url(" not in style
    assert "@import" not in style
    policy = [a["content"] for a, _ in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy[0].startswith("default-src 'none'")


def test_hostile_text_arrives_as_text_everywhere():
    page = Page(full_report(HOSTILE).html())
    for tag, times in (("title", 1), ("h1", 1), ("p", 3), ("th", 2), ("figcaption", 1), ("dt", 1), ("dd", 1)):
        assert page.texts(tag).count(HOSTILE) == times, tag
    assert page.texts("caption") == [HOSTILE]
    assert [a["aria-label"] for a, _ in page.all("div") if a.get("class") == "scroll"] == [HOSTILE]
    assert page.all("img")[0][0]["alt"] == HOSTILE
    assert "onerror" not in page.all("img")[0][0]


def test_a_table_aligns_numbers_and_names_its_rows():
    report = Report("Report")
    rows = [
        {"system": "teacher", "accuracy": 0.99114, "parameters": 421642, "noise": False, "note": None},
        {"system": "student", "accuracy": 0.9622, "parameters": 930, "noise": True},
    ]
    report.table(rows, formatters={"accuracy": lambda share: f"{share:.1%}"})
    page = Page(report.html())
    headings = page.all("th")
    assert [text for a, text in headings if a["scope"] == "col"] == list(rows[0])
    assert [text for a, text in headings if a["scope"] == "row"] == ["teacher", "student"]
    assert page.texts("td") == ["99.1%", "421642", "no", "–", "96.2%", "930", "yes", "–"]
    aligned = [text for a, text in page.all("th", "td") if a.get("class") == "number"]
    assert aligned == ["accuracy", "parameters", "99.1%", "421642", "96.2%", "930"]


def test_a_table_shows_the_chosen_columns_in_their_order_and_four_digits_of_a_float():
    report = Report("Report")
    report.table([{"a": 1, "b": 2 / 3, "c": 3}], {"c": "third", "b": "second"})
    page = Page(report.html())
    assert page.texts("th", "td") == ["third", "second", "3", "0.6667"]


def test_a_wide_table_scrolls_by_itself_and_from_the_keyboard():
    report = Report("Report")
    report.table([{"a": 1}], caption="What it lists")
    boxes = [a for a, _ in Page(report.html()).all("div") if a.get("class") == "scroll"]
    assert boxes == [{"class": "scroll", "role": "group", "tabindex": "0", "aria-label": "What it lists"}]


def test_a_table_without_rows_says_so():
    report = Report("Report")
    report.table([], {"a": "first", "b": "second"})
    page = Page(report.html())
    assert page.all("td") == [({"colspan": "2"}, "no rows")]


def test_a_column_that_no_row_has_is_refused():
    with pytest.raises(ValueError, match=r"columns must be keys of the rows \(a\), got accurcy"):
        Report("Report").table([{"a": 1}], {"accurcy": "accuracy"})
    with pytest.raises(ValueError, match=r"formatters must be keys of the rows \(a\), got b"):
        Report("Report").table([{"a": 1}], formatters={"b": str})


def test_a_picture_is_kept_whole_inside_the_page_with_its_size():
    report = Report("Report")
    png = picture(width=5, height=7)
    report.figure(png, "a grey rectangle")
    ((attributes, _),) = Page(report.html()).all("img")
    kind, data = attributes["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data, validate=True) == png
    assert (attributes["width"], attributes["height"]) == ("5", "7")


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_picture_without_words_is_refused(alt):
    with pytest.raises(ValueError, match="alt must not be empty"):
        Report("Report").figure(picture(), alt)


def test_what_is_no_png_is_refused():
    with pytest.raises(ValueError, match="png must be a PNG file, got 3 bytes"):
        Report("Report").figure(b"GIF", "a picture")


def test_blocks_stand_in_the_order_they_were_added():
    report = Report("Report")
    report.paragraph("one\n\ntwo")
    report.section("First", "three")
    report.keyvalues({"seed": 4, "noise-free": True})
    report.section("Second")
    report.paragraph("five")
    page = Page(report.html())
    assert page.texts("p", "dt", "dd") == ["one", "two", "three", "seed", "4", "noise-free", "yes", "five"]
    first, second = page.texts("section")
    assert "three" in first
    assert "five" in second


def test_a_page_without_sections_has_no_contents():
    report = Report("Report")
    report.paragraph("text")
    page = Page(report.html())
    assert page.all("nav") == []
    assert page.all("section") == []


def test_sections_of_one_name_keep_their_own_anchors():
    report = Report("Report")
    for title in ("Cost [J]", "Cost (J)", "Content", "???", "Größe"):
        report.section(title)
    anchors = [attributes["id"] for attributes, text in Page(report.html()).all("h2") if text != "Contents"]
    assert anchors == ["cost-j", "cost-j-2", "content-2", "section", "größe"]


def test_a_page_is_written_in_utf_8_and_the_same_each_time(tmp_path):
    path = tmp_path / "new" / "report.html"
    report = full_report("5 µm")
    report.write(path)
    assert path.read_bytes() == report.html().encode("utf-8")
    assert report.html() == full_report("5 µm").html()


def test_an_older_page_stands_when_writing_fails(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    report = Report("Report")
    report.paragraph("half a character: \ud800")  # has no UTF-8
    with pytest.raises(UnicodeEncodeError):
        report.write(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("8 um", "8 µm"),
        ("at most 8.5 um, got 3 um. Use more.", "at most 8.5 µm, got 3 µm. Use more."),
        ("20 us (5 us ... 30 us)", "20 µs (5 µs ... 30 µs)"),
        ("3 uJ;", "3 µJ;"),
        ("[um]", "[µm]"),
        ("3 use it, tell us, 5 um.toml, runs/5 um/masks.h5", "3 use it, tell us, 5 um.toml, runs/5 um/masks.h5"),
    ],
)
def test_micro_is_written_as_on_the_axes_wherever_there_is_text(text, shown):
    page = Report(text, text)
    page.section(text, text)
    page.keyvalues({text: text})
    page.table([{text: text}], caption=text)
    page.bars([{"name": text, "text": text, "low": 0, "value": 0, "high": 1, "seeds": ()}], headings=(text, text))
    with page.details(text), page.tabs("Wavelength"), page.tab(text):
        page.paragraph(text)
    page.figure(picture(), "words", text)
    page.code(text)
    found = Page(page.html())
    for tag in ("h1", "h2", "h3", "p", "a", "dt", "dd", "th", "td", "caption", "summary", "figcaption"):
        words = [word for word in found.texts(tag) if word and word not in ("Contents", "Skip to the content")]
        assert words and set(words) == {shown}, tag
    assert found.texts("pre") == [text]  # a configuration may be copied from there


def test_columns_of_words_numbers_and_sentences_are_told_apart():
    page = Report("Report")
    page.table([{"name": "one", "number": 1.5, "word": "11 ... 42", "sentence": "x" * 41, "between": "x" * 20}])
    found = Page(page.html())
    assert [a.get("class", "") for a, _ in found.all("td")] == ["number", "word", "prose", ""]
