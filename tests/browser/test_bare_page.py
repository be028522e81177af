"""What the other tests of bare pages stand on: a module alone on a page, with Python behind it."""

import threading

from playwright.sync_api import expect

from tests.browser.toy import Toy, answer


def mount(bare, **traits):
    return bare.mount(Toy._esm, Toy._css, {"count": 0, "data": b""} | traits, answer)


def test_a_click_reaches_the_trait_with_its_bytes(bare):
    view = mount(bare, count=2)
    view.get_by_test_id("count").click()
    bare.until("count", 3)
    assert bare.traits["data"] == bytes([0, 1, 2]) == bare.trait("data")


def test_the_page_follows_a_trait(bare):
    view = mount(bare)
    bare.set("count", 41)
    expect(view.get_by_test_id("count")).to_have_text("Count 41")
    view.get_by_test_id("count").click()
    expect(bare.add_view().get_by_test_id("count")).to_have_text("Count 42")


def test_a_message_and_its_reply_carry_bytes(bare):
    view = mount(bare)
    view.get_by_test_id("ask").click()
    expect(view.get_by_test_id("reply")).to_have_text("32640: 255,254,253 .. end")
    assert bare.sent == [({"id": 7}, [bytes(range(256))])]


def test_messages_from_a_thread_arrive_in_order(bare):
    view = mount(bare)
    thread = threading.Thread(target=lambda: [bare.send({"event": f"e{n}"}, [bytes([n])]) for n in range(3)])
    thread.start()
    expect(view.get_by_test_id("heard")).to_have_text("e0 0;e1 1;e2 2;")
    thread.join()


def test_a_module_that_is_taken_off_leaves_no_handler(bare):
    mount(bare)
    bare.add_view()
    assert bare.unmount() == 0
    assert bare.page.locator("[data-bare]").count() == 0


def test_what_python_raises_while_it_answers_is_told(bare):
    def refuse(message, buffers):
        raise ValueError("no such row")

    view = bare.mount(Toy._esm, Toy._css, {"count": 0, "data": b""}, refuse)
    view.get_by_test_id("ask").click()
    bare.until(lambda: len(bare.errors), 1)
    assert "no such row" in bare.errors.pop()


def test_an_address_elsewhere_is_noted_and_not_reached(bare):
    esm = "export default { render: ({el}) => fetch('https://cdn.example.org/x.js').catch(() => el.append('none')) }"
    expect(bare.mount(esm)).to_have_text("none")
    assert bare.page.outside == ["https://cdn.example.org/x.js"]


def test_axe_names_a_button_without_a_name(bare, axe):
    bare.mount("export default { render: ({el}) => { el.append(document.createElement('button')) } }")
    (found,) = axe(bare.page, "[data-bare]")
    assert found.startswith("button-name (critical)")
