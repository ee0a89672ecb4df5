"What can be proved of the docs site without the quarto program: one line for each fault, and exit status 1."
import ast, json, os, re, sys, tempfile, warnings
from pathlib import Path
import finish_site, readme

root = Path(__file__).parents[1]
NOTEBOOKS = sorted(p for p in root.glob('nbs/**/*.ipynb') if '.ipynb_checkpoints' not in p.parts)

def name_of(path): # -> 'media/01_formats.ipynb'
    path = Path(path)
    return path.relative_to(root/'nbs').as_posix() if path.is_relative_to(root/'nbs') else path.name

def cells(path, kind): # -> sources of the 'code' or 'markdown' cells
    found = json.loads(Path(path).read_text(encoding='utf-8'))['cells']
    return [''.join(c.get('source', '')) for c in found if c['cell_type'] == kind]

# --- links

_FENCED = re.compile(r'```.*?```|`[^`\n]*`|\$\$.*?\$\$', re.S) # code and formulas
_LINK = re.compile(r'\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)|<(?:img|a)\b[^>]*?(?:src|href)="([^"]+)"')

def links(text): # yields targets in Markdown or HTML
    for a, b in _LINK.findall(_FENCED.sub('', text)): yield a or b

def slug(heading):
    "The anchor that GitHub and pandoc give to an ordinary heading."
    return re.sub(r'\s', '-', re.sub(r'[^\w\s-]', '', heading.strip().lower()))

def anchors(path): # a notebook or a Markdown file
    text = path.read_text(encoding='utf-8') if path.suffix == '.md' else '\n\n'.join(cells(path, 'markdown'))
    return {slug(h) for h in re.findall(r'^#{1,6} +(.+)$', _FENCED.sub('', text), re.M)}

def broken_links(path, text):
    "Links to files and headings that are not there."
    for link in links(text):
        if re.match(r'\w+:', link): continue # to the web, or data
        name, _, anchor = link.partition('#')
        target = path.parent/name if name else path
        if not target.exists(): yield f'{path.relative_to(root)}: {link} is not there'
        elif anchor and anchor not in anchors(target): yield f'{path.relative_to(root)}: {link} has no such heading'

def link_faults():
    for p in NOTEBOOKS: yield from broken_links(p, '\n\n'.join(cells(p, 'markdown')))
    for p in (root/'README.md', root/'CONTRIBUTING.md'): yield from broken_links(p, p.read_text(encoding='utf-8'))

# --- the network

def shown(path): # a notebook -> what its page shows as it is: Markdown, and outputs in HTML or Markdown
    found = json.loads(path.read_text(encoding='utf-8'))['cells']
    data = [o.get('data', {}) for c in found for o in c.get('outputs', [])]
    return '\n\n'.join(
        cells(path, 'markdown')
        + [''.join(d[kind]) for d in data for kind in ('text/html', 'text/markdown') if kind in d]
    )

def network_faults(notebooks=NOTEBOOKS):
    "Pictures, sounds, scripts and styles that a page would fetch from elsewhere."
    for p in notebooks:
        yield from (
            f'nbs/{name_of(p)}: fetches {address}' for address in finish_site.fetched(_FENCED.sub('', shown(p)))
        )

# --- names

def public(tree): # -> what the module exports
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '__all__':
            return ast.literal_eval(node.value)
    return []

def defined(node): # -> names
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)): return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]

def explained(node, lines):
    "A docstring, a comment on a line of the signature, or the help of a command."
    if ast.get_docstring(node): return True
    if any('command' == getattr(getattr(d, 'func', None), 'id', '') for d in node.decorator_list): return True
    return any(' # ' in l for l in lines[node.lineno - 1:max(node.lineno, node.body[0].lineno - 1)])

def name_faults():
    for path in sorted(root.glob('sound_video/*/*.py')):
        text = path.read_text(encoding='utf-8')
        tree, lines = ast.parse(text), text.splitlines()
        known = {name: node for node in tree.body for name in defined(node)}
        for name in public(tree):
            node = known.get(name)
            if node is None:
                yield f'{path.relative_to(root)}: {name} is in __all__ and nowhere else'
            elif hasattr(node, 'body') and not explained(node, lines):
                yield f'{path.relative_to(root)}: {name} has neither a docstring nor a comment'

# --- the site

def sidebar_faults():
    listed = re.findall(r'[\w./]+\.ipynb', (root/'_quarto.yml').read_text(encoding='utf-8'))
    yield from (f'_quarto.yml: {n} is listed, and not there' for n in listed if not (root/'nbs'/n).exists())
    yield from (
        f'_quarto.yml: the sidebar lists {name_of(p)} {listed.count(name_of(p))} times'
        for p in NOTEBOOKS
        if listed.count(name_of(p)) != 1
    )

def readme_faults():
    if (root / 'README.md').read_text(encoding='utf-8') != readme.readme():
        yield 'README.md: differs from nbs/index.ipynb: run `make readme`'

def render(path, out):
    "A notebook as nbdev hands it to quarto: imports, exported cells and `show_doc` are run, and nothing else."
    from nbdev.processors import FilterDefaults
    from nbdev.serve_drv import main
    os.chdir(root) # where nbdev looks for its configuration
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        made = out/name_of(path)
        made.parent.mkdir(parents=True, exist_ok=True)
        main((path, made, FilterDefaults))
    return made

def page(path): # a rendered notebook -> the name of its page
    named = re.search(r'^output-file: *(\S+)', '\n'.join(cells(path, 'raw')), re.M)
    return named[1] if named else path.stem + '.html'

def render_faults(notebooks=NOTEBOOKS):
    "Notebooks that nbdev cannot process, pages that are empty or fall on one another."
    pages = {}
    with tempfile.TemporaryDirectory() as out:
        for p in notebooks:
            try:
                made = render(p, Path(out))
            except Exception as e:
                yield f'nbs/{name_of(p)}: {str(e).splitlines()[0]} … {str(e).splitlines()[-1]}'
                continue
            if len(cells(made, 'markdown')) < 3: yield f'nbs/{name_of(p)}: its page is empty'
            name = (made.parent/page(made)).relative_to(out).as_posix()
            if name in pages: yield f'nbs/{name_of(p)}: its page, {name}, is that of {pages[name]} too'
            pages[name] = name_of(p)

def faults():
    for check in (link_faults, network_faults, name_faults, sidebar_faults, readme_faults, render_faults):
        yield from check()

if __name__ == '__main__':
    found = list(faults())
    print(*found or [f'{len(NOTEBOOKS)} notebooks: pages, links, names, sidebar and README are in order'], sep='\n')
    sys.exit(bool(found))
