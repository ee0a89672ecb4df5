"What a rendered site would fetch from elsewhere: the scripts that Quarto adds for widgets, which no page has, are taken out; anything else is a line and exit status 1."
import re, sys
from pathlib import Path

_WIDGETS = re.compile(r'''<script src="https://cdn\.jsdelivr\.net/npm/(?:requirejs|jquery)@[^>]*></script>\s*|<script[^>]*>define\('jquery'.*?</script>\s*''')
_FETCHED = re.compile(r'''<(?:script|img|video|audio|source|iframe|embed)\b[^>]*?\bsrc="(https?:[^"]+)|<link\b(?=[^>]*\brel="(?:stylesheet|icon|preload)")[^>]*?\bhref="(https?:[^"]+)|@import[^;]{0,9}(https?:[^"')]+)|\burl\(["']?(https?:[^"')]+)''')

def plain(page): # a page's text -> the same without Quarto's scripts for widgets
    return _WIDGETS.sub('', page)

def fetched(text): # of a page or a style sheet -> addresses that a browser would ask for
    return [next(filter(None, found)) for found in _FETCHED.findall(text)]

def mend(site): # a folder -> lines
    for path in sorted(p for p in Path(site).rglob('*') if p.suffix in ('.html', '.css')):
        text = path.read_text(encoding='utf-8')
        if path.suffix == '.html' and plain(text) != text: path.write_text(text := plain(text), encoding='utf-8')
        yield from (f'{path}: fetches {address}' for address in fetched(text))

if __name__ == '__main__':
    found = list(mend(sys.argv[1]))
    print(*found or ['The site fetches nothing from elsewhere'], sep='\n')
    sys.exit(bool(found))
