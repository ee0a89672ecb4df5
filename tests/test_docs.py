"The docs, as far as they can be checked quickly; `make docs-check` has nbdev process every notebook."
import ast, json, sys
from pathlib import Path
import pytest

root = Path(__file__).parents[1]
sys.path.insert(0, str(root/'tools'))
import docs_check, finish_site

@pytest.mark.parametrize('check', ['link', 'network', 'name', 'sidebar', 'readme'])
def test_in_order(check): assert not list(getattr(docs_check, f'{check}_faults')())

def test_pages_are_made():
    assert not list(
        docs_check.render_faults([root / f'nbs/{n}.ipynb' for n in ('index', 'core/00_errors', 'app/12_cli')])
    )

@pytest.mark.parametrize(
    'text, fault',
    [
        ('[a](gone.ipynb)', 'gone.ipynb is not there'),
        ('![a](images/gone.png "a b")', 'images/gone.png is not there'),
        ('<img alt="" src="gone.png">', 'gone.png'),
        ('[a](core/00_errors.ipynb#nowhere)', 'no such heading'),
        ('# Here\n[a](#there)', '#there has no such heading'),
    ],
)
def test_broken_links_are_found(text, fault):
    path = root/'nbs/index.ipynb'
    assert fault in ' '.join(docs_check.broken_links(path, text))

@pytest.mark.parametrize(
    'text',
    [
        '`[a](gone)`',
        '```\n[a](gone)\n```',
        '$$f[x](p)$$',
        '[a](https://example.org/gone)',
        '[a](core/00_errors.ipynb)',
        '[a](media/01_formats.ipynb "a title")',
    ],
)
def test_other_text_is_no_broken_link(text):
    assert not list(docs_check.broken_links(root / 'nbs/index.ipynb', text))

def notebook(path, *sources):
    code = [
        dict(cell_type='code', execution_count=None, id=str(i), metadata={}, outputs=[], source=s)
        for i, s in enumerate(sources)
    ]
    path.write_text(
        json.dumps(
            dict(
                cells=code,
                metadata=dict(kernelspec=dict(language='python', name='python3', display_name='python3')),
                nbformat=4,
                nbformat_minor=5,
            )
        )
    )
    return path

def test_pages_that_fail_are_found(tmp_path):
    bad = notebook(
        tmp_path / 'bad.ipynb',
        '#| default_exp bad',
        '#| export\ndef f(): "Does nothing."',
        'import json\njson.loads(text)',
    )
    empty = notebook(tmp_path/'empty.ipynb', '1')
    failed, nothing = docs_check.render_faults([bad, empty])
    assert 'bad.ipynb' in failed and "NameError: name 'text' is not defined" in failed
    assert 'empty.ipynb' in nothing and 'empty' in nothing

def test_what_a_page_would_fetch_is_found(tmp_path):
    page = tmp_path/'page.ipynb'
    page.write_text(
        json.dumps(
            dict(
                cells=[
                    dict(
                        cell_type='markdown',
                        source='![a](https://a.org/a.png) [b](https://b.org) `![c](https://c.org/c.png)`',
                    ),
                    dict(
                        cell_type='code',
                        source='d',
                        outputs=[
                            dict(
                                data={
                                    'text/html': [
                                        '<img src="data:image/png;base64,">',
                                        '<video src="https://d.org/d.mp4">',
                                    ]
                                }
                            )
                        ],
                    ),
                ]
            )
        )
    )
    assert list(docs_check.network_faults([page])) == [
        f'nbs/page.ipynb: fetches https://{a}' for a in ('a.org/a.png', 'd.org/d.mp4')
    ]

PAGE = """<script src="https://cdn.jsdelivr.net/npm/requirejs@2.3.6/require.min.js" integrity="a"></script>
<script src="https://cdn.jsdelivr.net/npm/jquery@3.5.1/dist/jquery.min.js"></script>
<script type="application/javascript">define('jquery', [],function() {return window.jQuery;})</script>
<link rel="canonical" href="https://a.org">
    <h2 id="here">f(x:__main__.Clip)<span class="op">-&gt;</span>list[__main__.Clip]:</h2>
    __main__.py &lt;class '__main__.Clip'&gt; <a href="#here">up</a> <a href="./b.html?x#there">b</a>"""

def test_a_site_is_finished(tmp_path):
    for name, text in [
        ('a.html', PAGE),
        ('b.html', '<p id="there">'),
        ('a.css', 'a { background: url(data:image/png;base64,) }'),
        ('search.json', '["f(x:__main__.Clip)"]'),
    ]:
        (tmp_path / name).write_text(text)
    assert not list(finish_site.finish(tmp_path))
    text = (tmp_path/'a.html').read_text()
    assert (
        '<script' not in text
        and 'x:Clip' in text
        and '</span>list[Clip]:' in text
        and '__main__.py &lt;class \'__main__.Clip' in text
    )
    assert (tmp_path/'search.json').read_text() == '["f(x:Clip)"]'

@pytest.mark.parametrize(
    'name, text, fault',
    [
        ('a.html', '<a href="gone.html">', 'a.html: gone.html is not there'),
        ('a.html', '<a href="#gone">', 'a.html: #gone has no such heading'),
        ('a.html', '<img src="gone.png">', 'gone.png is not there'),
        ('a.html', '<script src="https://a.org/a.js">', 'a.html: fetches https://a.org/a.js'),
        ('a.css', '@import"https://a.org/font"', 'a.css: fetches https://a.org/font'),
        ('a.css', 'src: url("https://a.org/b")', 'https://a.org/b'),
    ],
)
def test_faults_of_a_site_are_found(tmp_path, name, text, fault):
    (tmp_path/'search.json').write_text('[]')
    (tmp_path/name).write_text(text)
    found, = finish_site.finish(tmp_path)
    assert fault in found

def test_names_without_a_word_are_found():
    def ok(text): return docs_check.explained(ast.parse(text).body[0], text.splitlines())
    assert (
        ok('def f():\n    "Does it."')
        and ok('def f(x, # a number\n      ): return x')
        and ok('@command("f", "Does it.")\ndef f(a): return 1')
    )
    assert not ok('def f(x): return x') and not ok('def f(x):\n    return x # a number') and not ok('class A: pass')
