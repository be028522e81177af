"""Marking a text: what is chosen on the screen is what the log has, in code points, in any writing."""

import pytest
from playwright.sync_api import expect

import workbench as wb
from columns import TextColumn

TEXTS = [
    "The 😀 film 👩‍👩‍👧 was good",
    "אבג שלום 123 דהו",
    "hidden\u202ereversed\u202c and\u200b joined",
    "e\u0301cole à Orléans, très bien",
    None,
    "",
    "line one\nline two\n\nline four",
]
# Selects code points of the text, as a drag would: by the parts that the page is made of.
SELECT = """(text, [start, end]) => {
  const place = wanted => {
    for (const part of text.querySelectorAll("[data-start]")) {
      const [from, to] = [Number(part.dataset.start), Number(part.dataset.end)];
      if (wanted > to || (wanted === to && part.nextElementSibling)) continue;
      if (part.classList.contains("wb-escaped")) return [part.firstChild, wanted === from ? 0 : 1];
      return [part.firstChild, [...part.textContent].slice(0, wanted - from).join("").length];
    }
    const last = [...text.querySelectorAll("[data-start]")].at(-1).firstChild;
    return [last, last.length];
  };
  getSelection().setBaseAndExtent(...place(start), ...place(end));
  text.focus();
}"""


@pytest.fixture
def view(explore, log):
    return explore(
        wb.DataPanel({"text": TextColumn(TEXTS), "label": list("ab") * 3 + ["a"]}, origin="films"), None, log
    )


def go(view, row):
    view.set("focus", row)
    expect(view.get("detail")).to_have_attribute("data-row", str(row))


def spans(view, row, role="irrelevant"):
    region = view.session.marking.told(row)["regions"][role]
    return None if region is None else [tuple(span) for span in region["spans"]]


def marked(view, role="irrelevant"):
    """The text under the marks, as it is shown."""
    return view.get("text").locator(f".wb-{role}").all_inner_texts()


def mark(view, start, end):
    view.get("text").evaluate(SELECT, [start, end])
    view.press("Enter")


def test_what_is_chosen_is_written_in_code_points(view):
    for row, start, end in [(0, 4, 5), (0, 11, 16), (0, 0, 25), (1, 4, 8), (1, 0, 16), (3, 0, 2), (6, 5, 13)]:
        end = min(end, len(TEXTS[row]))
        go(view, row)
        mark(view, start, end)
        view.until(lambda: spans(view, row), [(start, end)])  # noqa: B023 - asked for here
        assert "".join(marked(view)).replace("\n", "") == TEXTS[row][start:end].replace("\n", "")
        view.get("clear").click()
        view.until(lambda: spans(view, row), [])  # noqa: B023


def test_characters_that_hide_are_shown_and_can_be_marked(view):
    go(view, 2)
    expect(view.get("text")).to_have_text(r"hidden\u202ereversed\u202c and\u200b joined")
    mark(view, 6, 7)
    view.until(lambda: spans(view, 2), [(6, 7)])
    assert marked(view) == [r"\u202e"]
    mark(view, 15, 20)
    view.until(lambda: spans(view, 2), [(6, 7), (15, 20)])
    assert TEXTS[2][15:20] == "\u202c and"


def test_the_mouse_marks_what_it_drags_over_wherever_it_is_let_go(view):
    go(view, 3)
    text, mouse = view.get("text"), view.page.mouse
    text.scroll_into_view_if_needed()
    box = text.bounding_box()
    mouse.move(box["x"] + 9, box["y"] + 18)
    mouse.down()
    mouse.move(box["x"] + 60, box["y"] + 18, steps=3)
    mouse.move(box["x"] + 60, box["y"] + box["height"] + 60, steps=3)
    mouse.up()
    view.until(lambda: spans(view, 3), lambda found: found is not None)
    assert spans(view, 3)[0][0] == 0
    view.press("c")
    view.until(lambda: spans(view, 3), [])
    text.click(click_count=3)
    view.until(lambda: spans(view, 3), [(0, len(TEXTS[3]))])
    assert view.page.evaluate("() => getSelection().isCollapsed")


def test_keys_choose_words_and_characters_and_roles_exclude_each_other(view):
    go(view, 3)
    view.get("text").focus()
    view.press("ArrowRight", "Enter")
    first = view.until(lambda: spans(view, 3), lambda found: found is not None)[0]
    assert first[0] == 0
    assert TEXTS[3][: first[1]].strip() == "e\u0301cole"
    view.press("2")
    view.get("text").focus()
    view.press("ArrowRight", "ArrowRight", "ArrowRight", "Shift+ArrowRight", "Control+Shift+ArrowRight", "Enter")
    view.until(lambda: spans(view, 3, "relevant"), lambda found: found is not None)
    assert view.focus == 3  # the arrows were the text's
    mark(view, 0, 4)
    view.until(lambda: spans(view, 3, "relevant")[0], (0, 4))
    assert all(end <= 0 or start >= 4 for start, end in spans(view, 3))
    view.get("tool-erase").click()
    mark(view, 1, 2)
    view.until(lambda: spans(view, 3, "relevant")[:2], lambda found: found[0] == (0, 1))
    assert marked(view, "relevant")[0] == "e"
    view.press("z")
    view.until(lambda: spans(view, 3, "relevant")[0], (0, 4))
    expect(view.get("text").locator(".wb-relevant").first).to_have_text("e\u0301co")


def test_rows_without_a_text_say_so_and_cards_show_the_beginning(view):
    expect(view.get("card-0")).to_contain_text("The 😀 film")
    expect(view.get("card-2")).to_contain_text(r"hidden\u202ereversed")
    go(view, 4)
    expect(view.get("detail")).to_contain_text("nothing to show")
    go(view, 5)
    view.get("text").focus()
    view.press("ArrowRight", "Shift+ArrowRight", "Enter")
    assert not view.sent("mark")
    assert view.page.js_errors == []
