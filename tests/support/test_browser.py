"""The looks at a page find what is wrong with one."""

from pathlib import Path

from tests.support.browser import chromium, open_page

BAD = """<!doctype html><meta charset="utf-8"><body style="background: white">
<p style="color: #aaa">faint</p><div style="opacity: .5"><p style="color: #333">veiled</p></div>
<p style="color: #333">plain</p>
<svg width="80" height="30"><text y="20" fill="#ccc">pale</text></svg>
<div style="width: 900px">wide</div><script>console.error("oh"); nothing.there</script>"""
GOOD = """<!doctype html><meta charset="utf-8"><body style="background: #111; color: #ddd"><p>light on dark</p>"""


def test_faint_text_overflow_and_errors_are_found_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(BAD)
    (tmp_path / "good.html").write_text(GOOD)
    with chromium() as browser:
        with open_page(browser, (tmp_path / "bad.html").as_uri(), width=375) as bad:
            assert {text["text"] for text in bad.hard_to_read()} == {"faint", "pale", "veiled"}
            assert bad.overflow_px() > 500
            assert [complaint.partition(" ")[0] for complaint in bad.complaints] == ["oh", "nothing"]
        with open_page(browser, (tmp_path / "good.html").as_uri(), width=375) as good:
            assert (good.hard_to_read(), good.overflow_px(), good.complaints) == ([], 0, [])
