"Write sound_video/field.csv, the doubles of recordings: python tools/field.py FOLDER, with the recordings in FOLDER/SCENE/."
import sys
from pathlib import Path
from sound_video.core import *
from sound_video.doubles import *
from sound_video.field import *
from sound_video.score import SCENES

def refuse(line):
    print(line, file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__':
    if len(sys.argv) != 2: refuse(__doc__)
    folder, found = Path(sys.argv[1]), []
    for scene, file in [(s, f) for s in SCENES for f in sorted((folder/s).glob('*'))]:
        try: found.append((scene, file.name, mels_of(file)))
        except UserError as e: print(f'left out: {e}', file=sys.stderr)
    if not any(len(mels) >= 3 for *_, mels in found): refuse(f'no recording of 15 s in {str(folder)!r}: put some into folders named {", ".join(SCENES)}')
    write_rows(Path(__file__).parents[1]/'sound_video/field.csv', find_doubles(found))
