"""The only thing that is shown to strangers: a form for the key."""

from __future__ import annotations

import html

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>wombet: log in</title>
<style>
body{{margin:0;min-height:100vh;display:grid;place-items:center;background:#f1f5f9;color:#0f172a;
font:16px/1.5 system-ui,sans-serif}}
form{{background:#fff;border:1px solid #e2e8f0;border-radius:14px;padding:28px;
box-sizing:border-box;width:min(92vw,400px);box-shadow:0 8px 30px #0f172a14}}
h1{{font-size:1.25rem;margin:0 0 4px}}p{{margin:0 0 18px;color:#475569;font-size:.92rem}}
label{{display:block;font-size:.85rem;color:#475569;margin-bottom:6px}}
input{{width:100%;box-sizing:border-box;font:inherit;padding:10px 12px;border:1px solid #cbd5e1;
border-radius:8px}}
button{{width:100%;margin-top:14px;font:inherit;font-weight:600;padding:11px;border:0;
border-radius:8px;background:#0f4c81;color:#fff;cursor:pointer}}
code{{background:#f1f5f9;padding:1px 5px;border-radius:5px}}
.wrong{{color:#b42318;margin:12px 0 0}}
</style></head><body><form method="post" action="/login">
<h1>wombet</h1><p>The live page of a training server.</p>
<label for="key">Key of this start</label>
<input id="key" name="key" type="password" autocomplete="current-password" autofocus required>
<button>Log in</button>{wrong}
<p style="margin:16px 0 0">The key lies in <code>page.key</code> in the run's folder on the server;
only the account that started the server can read it.</p>
</form></body></html>
"""


def login_page(wrong: str = "") -> str:
    """The form; ``wrong`` says what was wrong with the last try."""
    line = f'<p class="wrong" role="alert">{html.escape(wrong)}</p>' if wrong else ""
    return _PAGE.format(wrong=line)
