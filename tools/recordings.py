"""Add recordings to the package: python tools/recordings.py TABLE.csv

TABLE.csv has a row for each, with the columns file (beside the table), scene, title, author, licence (as CC0-1.0 or CC-BY-4.0) and url.
An excerpt of each is written to sound_video/recordings, and a row to its table."""
import csv, hashlib, re, sys
from pathlib import Path
import av, numpy as np
from sound_video.core import *
from sound_video.media import *
from sound_video.recordings import *
from sound_video.score import SCENES

RATE, SECONDS, KBPS = 24000, 8, 24
FOLDER = Path(__file__).parents[1]/'sound_video/recordings'

def loudest(x, n): # [N] -> [at most n]
    "The loudest passage, from a whole tenth of a second on."
    hop = RATE // 10
    power = np.concatenate([[0], np.cumsum(np.add.reduceat(x**2, range(0, len(x), hop)))])
    k = n // hop
    return x if len(x) <= n else x[(at := hop * int((power[k:] - power[:-k]).argmax())):at + n]

def write_opus(path, x): # [N]
    with av.open(str(path), 'w', format='ogg') as c:
        s = c.add_stream('libopus', rate=RATE, layout='mono', options=dict(compression_level='10'))
        s.bit_rate = 1000 * KBPS
        frame = av.AudioFrame.from_ndarray(x[None], format='fltp', layout='mono')
        frame.sample_rate = RATE
        c.mux(s.encode(frame)); c.mux(s.encode(None))

def person(author): # as credited
    "Who recorded it, without who edited it."
    return re.sub(r'\W', '', re.split('[(,;/]', author)[0].lower())

def part_of(author):
    "All that one person recorded is either learnt from or kept for testing; so are one of five people's."
    return 'test' if int(hashlib.sha256(person(author).encode()).hexdigest(), 16) % 5 == 0 else 'train'

def add(row, folder, taken):
    "Write the excerpt of a row; what the package's table says of it."
    if row['scene'] not in SCENES: raise UserError(f"'{row['scene']}' is not a scene: take one of {', '.join(SCENES)}")
    if row['licence'] not in LICENCES: raise UserError(f"'{row['licence']}' is not a licence that lets excerpts be passed on: take one of {', '.join(LICENCES)}")
    x = read_sound(folder/row['file'], RATE, mono=True, seconds=300)[0][0].numpy()
    if (top := np.abs(x).max()) < 1e-4: raise UserError('it is silent')
    x = loudest(x * .8 / top, SECONDS * RATE)
    words = re.sub('[^a-z0-9]+', '-', f"{row['scene']} {row['title']}".lower())[:48].strip('-')
    name = next(n for i in range(1, 1000) if (n := f'{words}{f"-{i}" * (i > 1)}.opus') not in taken)
    with atomic(FOLDER/name) as tmp: write_opus(tmp, x)
    return Recording(name, row['scene'], part_of(row['author']), round(len(x) / RATE, 2), row['title'], row['author'], row['licence'], row['url'])

def refuse(line):
    print(line, file=sys.stderr)
    sys.exit(2)

def main(table):
    "Add the rows of a table."
    try: rows = list(csv.DictReader(table.read_text(encoding='utf-8').splitlines()))
    except OSError as e: refuse(f"cannot read '{table}': {e.strerror}")
    if missing := {'file', 'scene', 'title', 'author', 'licence', 'url'} - set(rows[0] if rows else ()): refuse(f"'{table}' has no column {', '.join(sorted(missing))}")
    FOLDER.mkdir(exist_ok=True)
    known = read_recordings(FOLDER) if (FOLDER/TABLE).exists() else []
    for row in rows:
        try: known.append(add(row, table.parent, {r.file for r in known}))
        except UserError as e: print(f"left out, '{row['file']}': {e}", file=sys.stderr)
    write_recordings(FOLDER, known)
    print(f'{len(known)} recordings')

if __name__ == '__main__':
    if len(sys.argv) != 2: refuse(__doc__)
    main(Path(sys.argv[1]))
