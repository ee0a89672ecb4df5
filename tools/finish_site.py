"""Finishes the site that Quarto rendered. Out go the scripts for widgets that Quarto adds from elsewhere and no page
needs, and the `__main__.` before a class of the page's own notebook.
What a browser would still fetch from elsewhere, and links to pages and headings that are not there, are a line each,
and exit status 1."""
import html, re, sys
from pathlib import Path
from urllib.parse import unquote

_WIDGETS = re.compile(
    r'''<script src="https://cdn\.jsdelivr\.net/npm/(?:requirejs|jquery)@[^>]*></script>\s*|<script[^>]*>define\('jquery'.*?</script>\s*'''
)
_OWN = re.compile(r'''(?<![\w'"])__main__\.(?=[A-Z])''') # in signatures
_FETCHED = re.compile(
    r'''<(?:script|img|video|audio|source|iframe|embed)\b[^>]*?\bsrc="(https?:[^"]+)|<link\b(?=[^>]*\brel="(?:stylesheet|icon|preload)")[^>]*?\bhref="(https?:[^"]+)|@import[^;]{0,9}(https?:[^"')]+)|\burl\(["']?(https?:[^"')]+)|!\[[^]]*\]\((https?:[^)]+)'''
)

def finished(text): # of a page -> the same without Quarto's scripts for widgets and Python's word for a notebook
    return _OWN.sub('', _WIDGETS.sub('', text))

def fetched(text): # of a page or style sheet, HTML or Markdown -> addresses that a browser would ask for
    return [next(filter(None, found)) for found in _FETCHED.findall(text)]

def targets(text): # of a page -> links within the site
    links = map(html.unescape, re.findall(r'\b(?:href|src)="([^"]+)"', text))
    return [
        unquote(l) for l in links if not re.match(r'\w+:|/', l)
    ]  # 404.html alone has links from the root: it is shown at any depth

def dead(site, pages): # yields links of pages (name: text) that lead nowhere
    ids = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in pages.items()}
    for name, text in pages.items():
        for link in dict.fromkeys(targets(text)):
            path, _, anchor = link.partition('#')
            there = (site/path.split('?')[0].removeprefix('./')) if path else site/name
            if not there.exists(): yield f'{name}: {link} is not there'
            elif anchor and anchor not in ids.get(there.name, {anchor}): yield f'{name}: {link} has no such heading'

def finish(site): # a folder -> lines, one for each fault
    for path in [*site.glob('*.html'), site/'search.json']:
        text = path.read_text(encoding='utf-8')
        if finished(text) != text: path.write_text(finished(text), encoding='utf-8')
    pages = {p.name: p.read_text(encoding='utf-8') for p in sorted(site.glob('*.html'))}
    styles = {p.name: p.read_text(encoding='utf-8') for p in site.rglob('*.css')}
    yield from (f'{name}: fetches {address}' for name, text in {**pages, **styles}.items() for address in fetched(text))
    yield from dead(site, pages)

if __name__ == '__main__':
    faults = list(finish(Path(sys.argv[1])))
    print(*faults or ['Every link leads somewhere, and nothing is fetched from elsewhere'], sep='\n')
    sys.exit(bool(faults))
