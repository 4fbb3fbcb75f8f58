"""The page in a real browser, offline, against numbers that Python computes; and the file itself, without one."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
from matplotlib import image
from selenium.webdriver.common.keys import Keys

from tests.alignment.test_links import softmax
from tests.browser import Page, assert_apart, browser, data_of, four_digits, luminance, needs_browser
from transformer.alignment.links import Rule, by_word, select_heads
from transformer.alignment.page import write_page
from transformer.alignment.record import KINDS, Attended, Side

LONG = (
    "The old fisherman who had sold his little wooden house near the harbour last winter told the curious children "
    "that an unforgettable thunderstorm had once destroyed every single boat .",
    "Der alte Fischer , der im letzten Winter sein kleines Holzhaus in der Nähe des Hafens verkauft hatte , erzählte "
    "den neugierigen Kindern , dass ein unvergessliches Gewitter einmal jedes Boot zerstört hatte .",
)
STRANGE = (
    "</script><img/src=x/onerror=alert(1)> <b>bold</b> \"'&amp; <!-- שלום العربية 👩‍👧‍👦 \u2028 {{data}} {{script}}",
    "<script>alert(2)</script> `${alert(3)}` \\u003c javascript:alert(4) \ud800 🇩🇪",
)
HOSTILE = "</script><script>alert(5)</script><!--"
ABOUT = {"model": "transformer", "run": HOSTILE, "rule": {"layer": None, "shift": 1}, HOSTILE: ["step", 5000]}

GOLD = [frozenset({(0, 0), (2, 1), (2, 5)}), frozenset(), frozenset({(1, 1)})]


def side(text):
    """Words of more than six letters are two pieces."""
    words = tuple(text.split(" "))
    cut = [(word[:6], word[6:]) if len(word) > 6 else (word,) for word in words]
    spans = [n for n, pieces in enumerate(cut) for _ in pieces]
    return Side(words, (*itertools.chain(*cut), "</s>"), (*spans, -1))


def weights(random, L, H, Q, N):
    """Near the diagonal, some heads more than others."""
    away = np.abs(np.arange(Q)[:, None] * N / Q - np.arange(N))
    return softmax(-away * random.uniform(0.1, 1, (L, H, 1, 1)) + random.normal(size=(L, H, Q, N)))


def sentences():
    """A long pair of a Transformer's, whose last head attends to the EOS token; a hostile one; and an RNN's."""
    random = np.random.default_rng(0)
    found = []
    for source, target in (map(side, pair) for pair in (LONG, STRANGE)):
        S, T = len(source.pieces), len(target.pieces)
        decoder = np.tril(weights(random, 2, 2, T, T))
        kinds = (weights(random, 4, 4, T, S), weights(random, 3, 4, S, S), decoder / decoder.sum(-1, keepdims=True))
        found.append(Attended(source, target, *kinds))
    sink = found[0].cross[-1, -1]
    sink[:, :-1] *= 1e-4
    sink[:, -1] = 1 - sink[:, :-1].sum(-1)
    S, T = side("the dog sleeps ."), side("der Hund schläft .")
    return [*found, Attended(S, T, weights(random, 1, 1, len(T.pieces), len(S.pieces)), line=12)]


def expected(sentence, kind, layer, head, unit):
    """The labels of rows and columns, and the matrix."""
    source, target = sentence.source, sentence.target
    read = Side(target.words, ("<s>", *target.pieces[:-1]), (-1, *target.spans[:-1]))
    rows = source if kind == "encoder" else target
    columns = read if kind == "decoder" else source
    found = select_heads(sentence.matrix(kind), *(None if n == "mean" else int(n) for n in (layer, head)))
    if unit == "pieces":
        return rows.pieces, columns.pieces, found
    return rows.words, columns.words, by_word(found, rows.spans, columns.spans)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "attention.html"
    write_page(path, ABOUT, sentences(), GOLD)
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


class Shown(Page):
    def matrix(self):
        return np.array(self.all("tbody tr", "[...e.querySelectorAll('td')].map(e => e.ariaLabel)"), np.float64)

    def luminances(self, selector):
        return np.array([luminance(colour) for colour in self.all(selector, "getComputedStyle(e).backgroundColor")])

    def says(self, heading, labels, values):
        """The panel has a heading and the three largest with their labels."""
        assert self.all("#says h2") == [heading]
        order = np.argsort(-values, kind="stable")[:3]
        assert self.all(".large bdi") == [labels[n] for n in order]
        np.testing.assert_allclose(np.array(self.all(".large", "+e.firstChild.data")), values[order], atol=6e-4)

    def state(self, **wanted):
        """The hash holds the initial state of a page, but for the given values."""
        return self.is_at(**{"sentence": 1, "kind": "cross", "layer": "mean", "head": "mean", "unit": "words"} | wanted)


@pytest.fixture
def shown(chromium, page):
    """The page reports no errors in any test."""
    shown = Shown(chromium, page)
    yield shown
    shown.assert_quiet()


CASES = """cross mean mean words, cross 1 2 words, cross 3 3 words, cross mean 1 pieces, encoder 2 mean words,
encoder 0 3 pieces, decoder 1 0 words, decoder mean mean pieces"""


@needs_browser
@pytest.mark.parametrize("case", CASES.split(","))
def test_the_matrix_and_what_a_hover_says_are_what_python_computes(shown, case):
    kind, layer, head, unit = case.split()
    rows, columns, matrix = expected(sentences()[0], kind, layer, head, unit)
    shown.open(f"#kind={kind}&layer={layer}&head={head}&unit={unit}")
    assert shown.all("#row button") == shown.all("tbody th") == list(rows)
    assert shown.all("#column button") == shown.all("thead th[scope]") == list(columns)
    np.testing.assert_allclose(shown.matrix(), matrix, atol=2e-4)
    for hovered, other, place, heading, labels, values in (
        ("row", "column", 4, f"{rows[4]} attends to", columns, matrix[4]),
        ("column", "row", 3, f"{columns[3]} is attended to by", rows, matrix[:, 3]),
    ):
        shown.hover(f"#{hovered} :nth-child({place + 1})")
        shown.says(heading, labels, values)
        assert shown.all("th.on", "e.dataset") == [{hovered: str(place)}]
        shades = shown.luminances(f"#{other} button")[np.argsort(-values)]
        assert (np.diff(shades) >= -1e-9).all()
        assert shades[-1] - shades[0] > 0.05


@needs_browser
def test_a_cell_has_its_value_and_is_linked_with_the_words(shown):
    shown.open("#layer=1&head=2")
    rows, columns, matrix = expected(sentences()[0], "cross", 1, 2, "words")
    assert not shown.one("#tip").is_displayed()
    shown.hover('td[data-row="6"][data-column="9"]')
    assert shown.tip() == [f"{matrix[6, 9]:.4f}", f"{rows[6]} attends to {columns[9]}"]
    assert shown.all(".words .on") == shown.all("th.on") == [columns[9], rows[6]]
    assert len(shown.all(".frame")) == 2
    shown.says(f"{rows[6]} attends to", columns, matrix[6])
    shown.hover("h1")
    assert not shown.one("#tip").is_displayed()
    assert shown.all(".on, .frame, .large") == []


@needs_browser
def test_a_click_on_a_small_heatmap_chooses_it_and_a_pin_stays(shown):
    shown.open()
    assert len(shown.all("#heads button")) == 5 * 5  # with the means
    shown.one("#row :nth-child(3)").click()
    shown.one('#heads [aria-label="layer 2, head 1"]').click()
    assert shown.state(layer=2, head=1)
    assert shown.all("#layer, #head", "e.selectedOptions[0].text") == ["2", "1"]
    assert shown.all(":focus, [aria-pressed=true]", "e.ariaLabel") == ["layer 2, head 1"]
    rows, columns, matrix = expected(sentences()[0], "cross", 2, 1, "words")
    np.testing.assert_allclose(shown.matrix(), matrix, atol=2e-4)
    shown.hover("#row :nth-child(8)")
    shown.says(f"{rows[2]} attends to", columns, matrix[2])
    shown.one("#row :nth-child(3)").click()
    shown.hover("#row :nth-child(8)")
    shown.says(f"{rows[7]} attends to", columns, matrix[7])


@needs_browser
def test_the_keyboard_reaches_everything(shown):
    shown.open()
    rows, columns, matrix = expected(sentences()[0], "cross", "mean", "mean", "words")
    for stop in ("summary", "#sentence", "#next", "#cross", "#layer", "#head", "#words", "#column :first-child"):
        shown.press(Keys.TAB)
        assert len(shown.all(f"{stop}:focus")) == 1, stop
    shown.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    shown.says(f"{columns[2]} is attended to by", rows, matrix[:, 2])
    shown.press(Keys.TAB, Keys.END)
    shown.says(f"{rows[-1]} attends to", columns, matrix[-1])
    for keys in ((Keys.TAB, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, " "), (Keys.ARROW_DOWN,)):  # the second finds it pinned
        shown.press(*keys)
        assert shown.tip() == [f"{matrix[1, 1]:.4f}", f"{rows[1]} attends to {columns[1]}"]
    shown.press(Keys.ESCAPE)
    assert not shown.one("#tip").is_displayed()
    shown.press(Keys.TAB, Keys.ARROW_UP, Keys.ENTER)
    assert shown.state(layer=3)
    shown.press(Keys.ARROW_LEFT, Keys.ENTER)
    assert shown.state(layer=3, head=3)


@needs_browser
def test_controls_and_hash_say_the_same(shown):
    shown.open()
    assert shown.state()
    shown.choose("#layer", "3")
    shown.one("label:has(#encoder)").click()  # of three layers: a layer that does not exist becomes the mean
    shown.choose("#head", "2")
    shown.one("label:has(#pieces)").click()
    state = {"kind": "encoder", "head": 2, "unit": "pieces"}
    assert shown.state(**state)
    before = shown.matrix()
    shown.open(shown.run("return location.hash"))
    assert shown.state(**state)
    np.testing.assert_array_equal(shown.matrix(), before)
    shown.one("#next").click()
    assert shown.state(**state, sentence=2)
    shown.open("#sentence=99&kind=toString&layer=length&head=-1&unit=__proto__&more=1")
    assert shown.state()
    shown.run("location.hash = '#sentence=3'")
    shown.wait(lambda: shown.all("#row button") == ["der", "Hund", "schläft", "."])


@needs_browser
def test_gold_links_are_circled_where_rows_and_columns_are_their_words(shown):
    shown.open()
    cells = "[+e.dataset.column, +e.dataset.row]"
    assert {tuple(cell) for cell in shown.all("td.gold", cells)} == GOLD[0]
    assert shown.one("#gold").is_displayed()
    shown.hover('td[data-row="5"][data-column="2"]')
    assert shown.tip()[2] == "gold link"
    ring = "getComputedStyle(e, '::after').borderTopColor"
    assert set(shown.all("td.gold", ring)) == {"rgb(194, 65, 12)"}
    for place in ("#kind=encoder", "#unit=pieces", "#sentence=2"):
        shown.open(place)
        assert shown.all("td.gold", cells) == []
        assert not shown.one("#gold").is_displayed()
    shown.open("#sentence=3")
    assert shown.all("td.gold", cells) == [[1, 1]]


@needs_browser
def test_a_page_opens_at_the_layer_and_head_of_its_rule(chromium, page):
    path = page.with_name("rule.html")
    write_page(path, ABOUT, sentences(), rule=Rule(layer=2, head=1))
    shown = Shown(chromium, path)
    shown.open()
    assert shown.state(layer=2, head=1)
    np.testing.assert_allclose(shown.matrix(), expected(sentences()[0], "cross", 2, 1, "words")[2], atol=2e-4)
    shown.open("#layer=0&head=mean")
    assert shown.state(layer=0)
    shown.assert_quiet()


@needs_browser
def test_hostile_text_is_text(shown):
    shown.open("#sentence=2")
    hostile = sentences()[1]
    assert shown.all("tbody th") == [word.replace("\ud800", "�") for word in hostile.target.words]
    assert shown.all("thead th[scope]") == list(hostile.source.words)
    assert shown.all("#about dd")[1] == HOSTILE
    heights = "return [document.querySelector('.pair').offsetHeight, document.documentElement.scrollHeight]"
    before = shown.run(heights)
    shown.hover('td[data-row="0"][data-column="1"]')
    assert shown.run(heights) == before  # nothing moves from under the pointer
    assert shown.tip()[1] == "<script>alert(2)</script> attends to <b>bold</b>"
    assert shown.all("#says h2") == ["<script>alert(2)</script> attends to"]
    assert shown.all("img, b, main script") == []
    shown.open("#sentence=2&unit=pieces", width=390)
    assert shown.width() <= 390


@needs_browser
def test_a_recurrent_model_has_one_matrix(shown):
    shown.open("#sentence=3&kind=decoder&layer=2")
    assert shown.state(sentence=3)
    assert shown.all("#sentence option")[2] == "line 12 · the dog sleeps ."
    np.testing.assert_allclose(shown.matrix(), expected(sentences()[2], "cross", 0, 0, "words")[2], atol=2e-4)
    assert shown.all("#kind label, #title") == ["cross", "target to source"]
    assert not any(shown.one(absent).is_displayed() for absent in ("#layer", "#head", "#every"))


@needs_browser
def test_both_themes_are_readable_and_change_while_the_page_is_open(shown):
    shown.open("#layer=0&head=2")
    shown.run("document.querySelector('details').open = true")
    grounds, pictures = [], []
    for theme in ("light", "dark"):
        shown.theme(theme)
        for place in ("#row :nth-child(3)", "#column :nth-child(9)", 'td[data-row="9"][data-column="9"]'):
            shown.hover(place)
            shown.assert_readable()
        # From nothing to most the cells go from the theme's ground away from it, without a turn.
        lights = shown.luminances("td")[np.argsort(shown.matrix().ravel())] * (1 if theme == "dark" else -1)
        assert (np.diff(lights) >= -0.01).all()  # a step of eight bits
        assert lights[-1] - lights[0] > 0.6
        grounds.append(shown.luminances("body")[0])
        pictures.append(image.imread(io.BytesIO(shown.driver.get_screenshot_as_png()))[..., :3])
    assert grounds[0] > 0.8 > 0.1 > grounds[1]
    assert pictures[0].mean() > 0.75 > 0.35 > pictures[1].mean()
    for picture in pictures:
        assert picture.shape == (800, 1280, 3)
        assert len(np.unique((255 * picture.reshape(-1, 3)).astype(int), axis=0)) > 200


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("unit", ["words", "pieces"])
def test_labels_of_long_sentences_neither_meet_nor_are_cut(shown, width, unit):
    shown.open(f"#unit={unit}", width)
    rows, columns, _ = expected(sentences()[0], "cross", "mean", "mean", unit)
    assert min(len(rows), len(columns)) >= 29
    text = "(r => { r.selectNodeContents(e); return r; })(document.createRange())"
    for selector, labels in (("thead span", columns), ("tbody th", rows), (".words button", [*columns, *rows])):
        inner, outer = shown.boxes(selector, text), shown.boxes(selector, "e.closest('th, button')")
        assert len(inner) == len(labels)
        assert (inner[:, 1] - inner[:, 0] > 1).all()
        assert_apart(inner)
        assert (inner[:, 0] >= outer[:, 0] - 1).all()
        assert (inner[:, 1] <= outer[:, 1] + 1).all()
    assert shown.width() <= width
    assert shown.run("return document.querySelector('.scroll').scrollWidth > innerWidth") == (width == 390)


@needs_browser
def test_a_page_without_sentences_says_so(chromium, page):
    path = page.with_name("empty.html")
    write_page(path, {}, [])
    shown = Shown(chromium, path)
    shown.open()
    assert shown.all("main") == ["There are no sentences in this file."]
    shown.assert_quiet()


def test_the_file_is_self_contained_and_its_data_are_the_weights_with_four_digits(page):
    data = data_of(page)
    assert data["about"] == ABOUT
    assert data["start"] == {"kind": "cross", "layer": "mean", "head": "mean"}
    assert data["kinds"] == list(KINDS)
    assert [{tuple(link) for link in entry["gold"]} for entry in data["sentences"]] == GOLD
    for entry, sentence in zip(data["sentences"], sentences(), strict=True):
        for name in ("source", "target"):
            assert Side(*(tuple(entry[name][key]) for key in ("words", "pieces", "spans"))) == getattr(sentence, name)
        for kind in KINDS:
            if getattr(sentence, kind) is None:
                assert kind not in entry
            else:
                np.testing.assert_array_equal(np.array(entry[kind]), four_digits(sentence.matrix(kind)))


def test_unshowable_data_is_refused_and_leaves_no_file(tmp_path):
    path = tmp_path / "a.html"
    pair = sentences()[2]
    pair.cross[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="JSON"):
        write_page(path, {}, [pair])
    with pytest.raises(ValueError, match="no attention"):
        write_page(path, {}, [dataclasses.replace(pair, cross=None)])
    assert not path.exists()
