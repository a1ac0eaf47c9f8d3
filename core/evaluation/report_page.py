"""The frame of the report: one HTML page, no script, nothing fetched; light, dark, phone and print by style alone."""

import base64
import gzip
import html
from collections.abc import Iterable, Sequence

from core.evaluation.drawing import Drawing

MOST_PLAIN = 16_000
"""Bytes of data that a figure carries as plain CSV; more are packed by gzip, so that the page can still be mailed."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5b646d; --page: #fff; --panel: #f4f6f8; --grid: #cfd5db;
  --mark: #e8f1f8; --blue: #0072b2; --red: #d55e00; --green: #008f68;
  --orange: #c98600; --pink: #b6578f; --grey: #808891; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #a3adb6; --page: #14171a;
  --panel: #1e2327; --grid: #444c54; --mark: #16303f; --blue: #4db2ec; --red: #f58a42; --green: #2cc79b;
  --orange: #f0b73a;  --pink: #e59cc4; --grey: #98a1aa; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem clamp(.75rem, 4vw, 2.5rem) 4rem; max-width: 70rem; background: var(--page);
  color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.5rem; margin: 1rem 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
.claim { font-size: 1.15rem; font-weight: 600; background: var(--mark); border-left: 4px solid var(--blue);
  padding: .75rem 1rem; margin: 1rem 0; }
.data { margin: .3rem 0 0; font-size: .85rem; } a { color: var(--blue); }
.soft, figcaption, .notes { color: var(--soft); font-size: .92rem; }
.scroll { overflow-x: auto; margin: .75rem 0; }
p, ul, figcaption { max-width: 48rem; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { padding: .35rem .5rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--grid); }
th { font-weight: 600; } thead th { vertical-align: bottom; min-width: 4.2rem; }
th:first-child, td.text, th.text { text-align: left; }
td code { white-space: nowrap; }
th[scope=row] { min-width: 5.5rem; position: sticky; left: 0; background: var(--page); }
tr.ours td, tr.ours th { background: var(--mark); }
td small { display: block; color: var(--soft); white-space: nowrap; } td.text small { white-space: normal; }
th small { display: block; color: var(--soft); font-weight: 400; }
figure { margin: 1rem 0; } figure svg { display: block; width: 100%; max-width: 36rem; height: auto;
  overflow: visible; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
.row { display: grid; grid-template-columns: repeat(var(--n), minmax(0, 1fr)); gap: .5rem; margin: .25rem 0 1rem; }
.row div { font-size: .85rem; color: var(--soft); }
.row img { display: block; width: 100%; aspect-ratio: 1; image-rendering: pixelated; background: #000;
  border: 1px solid var(--grid); }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
.scale { display: inline-block; width: 8rem; height: .7rem; vertical-align: middle; margin: 0 .4rem;
  background: linear-gradient(90deg, #2d004b, #8073ac, #f7f7f7, #e08214, #7f3b08);
  -webkit-print-color-adjust: exact; print-color-adjust: exact; }
dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .5rem; margin: 1rem 0; }
dl.facts div { background: var(--panel); padding: .6rem .8rem; } dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
pre { background: var(--panel); padding: .8rem; overflow-x: auto; font-size: .85rem; }
code { font-size: .9em; overflow-wrap: anywhere; } summary { cursor: pointer; padding: .3rem 0; }
@media (max-width: 600px) { .row { grid-template-columns: repeat(var(--m), minmax(0, 1fr)); }
  th, td { padding: .3rem .4rem; } }
@media print { body { max-width: none; font-size: 11pt; padding: 0; } figure, tr, .row { break-inside: avoid; }
  h2, h3, summary { break-after: avoid; }
  .data { display: none; } .scroll { overflow: visible; } table { font-size: 8pt; } pre { white-space: pre-wrap; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .claim, tr.ours td, tr.ours th { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""


def page(*, title: str, body: str) -> str:
    """A whole document. The policy forbids every fetch and every script, whatever a hospital is called."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def text(value: object) -> str:
    """A value as HTML text, safe inside attributes too."""
    return html.escape(str(value))


def section(title: str, *parts: str) -> str:
    """A heading and what follows; nothing where every part is empty."""
    body = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{text(title)}</h2>\n{body}\n</section>" if body else ""


def figure(drawing: Drawing | None, *, caption: str) -> str:
    """A drawing with the caption that says what to see and its data to save; nothing without a drawing."""
    if drawing is None:
        return ""
    return (
        f"<figure>\n{drawing.markup}\n<figcaption>{text(caption)}</figcaption>\n"
        f'<p class="data">{_download(drawing)}</p>\n</figure>'
    )


def _download(drawing: Drawing) -> str:
    """A link that saves the data, which it carries: the page's policy forbids to fetch, not to save."""
    content, name, kind = drawing.csv().encode(), f"{drawing.name}.csv", "text/csv"
    if len(content) > MOST_PLAIN:
        # No clock and no system in the header: the same data give the same page.
        content, name, kind = gzip.compress(content, mtime=0), f"{name}.gz", "application/gzip"
    address = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return f'<a download="{text(name)}" href="{address}">Data of this figure: {text(name)}</a>'


def table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], *, words: Iterable[int] = ()) -> str:
    """A table that scrolls sideways on a phone.

    Args:
        head: Column heads, HTML.
        rows: Class of the row (may be empty) and its cells, HTML; the first cell heads the row.
        words: Columns of text, set to the left; numbers stand to the right.
    """
    left = {0, *words}

    def cell(tag: str, column: int, inner: str, extra: str = "") -> str:
        return f"<{tag}{extra}{' class=text' if column in left else ''}>{inner}</{tag}>"

    top = "".join(cell("th", i, inner, " scope=col") for i, inner in enumerate(head))
    lines = [
        f"<tr{f' class={kind}' if kind else ''}>"
        + cell("th", 0, cells[0], " scope=row")
        + "".join(cell("td", i, inner) for i, inner in enumerate(cells) if i)
        + "</tr>"
        for kind, cells in rows
    ]
    return (
        f'<div class="scroll"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def folded(summary: str, inner: str) -> str:
    """Something that opens on a click; nothing where there is nothing inside."""
    return f"<details>\n<summary>{text(summary)}</summary>\n{inner}\n</details>" if inner else ""


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values side by side."""
    inner = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts">{inner}</dl>'


def bullets(items: Iterable[str]) -> str:
    """A list of sentences; nothing where there is none."""
    inner = "".join(f"<li>{text(item)}</li>" for item in items)
    return f'<ul class="notes">{inner}</ul>' if inner else ""
