"Write README.md from nbs/index.ipynb; with --check only say whether they agree."
import re, sys
from pathlib import Path
from fastcore.nbio import read_nb

root = Path(__file__).parents[1]

def block(cell):
    "One cell of the notebook as Markdown; hidden cells, and those for the site alone, give nothing."
    source = ''.join(cell.source).strip()
    if source.startswith('<!-- on the site'): return ''
    if cell.cell_type == 'markdown':
        return re.sub(r'\]\((?=images/|[\w/]+\.ipynb)', '](nbs/', source)  # links from the root
    if cell.cell_type != 'code' or source.startswith('#| hide'): return ''
    lines = [l for l in source.splitlines() if not l.startswith('#|')]
    return '```python\n' + '\n'.join(lines).strip() + '\n```'

def readme():
    blocks = [block(c) for c in read_nb(root/'nbs/index.ipynb').cells]
    note = '<!-- Written from nbs/index.ipynb by `make readme`: change that file, not this one. -->'
    return '\n\n'.join([note] + [b for b in blocks if b]) + '\n'

if __name__ == '__main__':
    path, text = root/'README.md', readme()
    if '--check' not in sys.argv: path.write_text(text, encoding='utf-8')
    elif path.read_text(encoding='utf-8') != text: sys.exit('README.md differs from nbs/index.ipynb: run `make readme`')
