"The examples that `--help` and the README print: all are understood, and the quick ones do what they say."
import json, re, shlex, shutil, subprocess
from pathlib import Path
import numpy as np, pytest, soundfile, torch
from sound_video import cli
from sound_video.media import probe, read_image, write_image, write_video
from sound_video.pipeline import default_pack

def spoken(line): # -> the words after the program's name, without what the shell or a launcher takes
    return shlex.split(re.sub(' >.*', '', re.split('sound[-_]video ', line, maxsplit=1)[1]), comments=True)

COMMANDS = {name: (args, [spoken(line) for line in examples.splitlines()]) for name, (_, _, args, examples) in cli._COMMANDS.items()}
EXAMPLES = {shlex.join(words): words for _, examples in COMMANDS.values() for words in examples}
README = re.findall(r'sound-video ((?:generate|edit|name|train|data|evaluate|convert|doctor|completion) [^`\n]*)', (Path(__file__).parents[1]/'README.md').read_text(encoding='utf-8'))
QUICK = [e for e, words in EXAMPLES.items() if (words[0] in ('generate', 'edit', 'name', 'doctor') or words[:2] == ['data', 'check']) and not re.search(r'\bsounds\b', e)] # many sounds take long
RATE = 16000

def command(words): return next(n for n in COMMANDS if words[:len(n.split())] == n.split())
def parsed(words): return cli._parser().parse_args(words)

@pytest.mark.parametrize('words', EXAMPLES.values(), ids=EXAMPLES)
def test_help_is_understood(words): assert parsed(words).run is cli._COMMANDS[command(words)][0]

@pytest.mark.parametrize('line', README)
def test_readme_is_understood(line):
    words = shlex.split(line, comments=True)
    assert parsed(words).run is cli._COMMANDS[command(words)][0]

@pytest.mark.parametrize('name', COMMANDS)
def test_every_option_has_an_example(name):
    args, examples = COMMANDS[name]
    seen = {word for words in examples if command(words) == name for word in words}
    assert seen, f'{name} has no example'
    assert not [names for names, _ in args if names[0].startswith('-') and not seen & set(names)]

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A folder that has what the examples name: a second of noise that swells, speckled pictures, short films, packs."
    d, rng = tmp_path_factory.mktemp('examples'), np.random.default_rng(0)
    sound = (.4 * rng.normal(size=RATE) * np.abs(np.sin(np.linspace(0, 6, RATE)))).astype(np.float32)
    picture = rng.integers(0, 255, (64, 80, 3), np.uint8)
    for n in ('rain.wav', 'wind.wav', 'song.mp3', 'fire.mp3', 'waves.mp3', 'storm.ogg'): soundfile.write(d/n, sound, RATE)
    for n in ('hills.jpg', 'beach.jpg'): write_image(d/n, picture)
    for n in ('my-videos/raining', 'landscape/raining'): (d/n).mkdir(parents=True)
    for n in ('beach.mp4', 'holiday.mp4', 'my-videos/raining/0.mp4', 'landscape/raining/0.mp4'): write_video(d/n, [picture]*10, 10, (torch.from_numpy(sound)[None], RATE))
    for n in ('my-pack', 'faces'): (d/n).symlink_to(default_pack(), target_is_directory=True)
    return d

def check_film(path, fps):
    "A second of pictures, with its sound."
    seen = probe(path)
    assert seen.fps == fps and seen.frames == fps and abs(seen.seconds - 1) < .1 and seen.size == (64, 64)

def check_made(said, a, place, fps):
    "What `generate` or `edit` says that it made is there, and is what was asked for."
    path = place/said.partition(':')[0]
    assert not a.out or path.name == a.out
    if path.suffix == '.png': assert read_image(path).shape == (64, 64, 3)
    else: check_film(path, int(a.fps or fps))
    if getattr(a, 'strip', None): assert read_image(place/a.strip).shape[0] == 64

def check_said(said, a):
    "What `name`, `doctor` or `data check` says."
    if a.json: assert isinstance(json.loads(said), dict)
    else: assert len(said.splitlines()) >= 1 and not said.startswith('{')

@pytest.mark.parametrize('example', QUICK)
def test_quick_ones_work(example, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    words = EXAMPLES[example]
    a = parsed(words)
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    if words[0] in ('generate', 'edit'): check_made(said, a, place, 10 if str(getattr(a, 'source', '')).endswith('.mp4') else 30)
    else: check_said(said, a)

TRY = 'try() { COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); COMPREPLY=(); _sound_video; echo "${COMPREPLY[*]}"; }\n'

@pytest.mark.skipif(not shutil.which('bash'), reason='needs bash')
@pytest.mark.parametrize('typed, offered', [
    ('g', 'generate'), ('data ""', 'render curate check --help'), ('data render --s', '--scenes --seconds --size --seed'), ('generate ""', ''), ('generate rain.w', ''),
    ('generate rain.wav --p', '--pack --psi --prompt'), ('edit a.jpg b.wav --prompt-', '--prompt-layers'), ('completion z', 'zsh'), ('nonsense', '')])
def test_bash_completes(typed, offered, capsys):
    assert cli.main(['completion', 'bash']) == 0
    script = capsys.readouterr().out + TRY + f'try sound-video {typed}'
    r = subprocess.run(['bash', '--norc', '-c', script], capture_output=True, text=True, timeout=30)
    assert (r.returncode, r.stderr, r.stdout.strip()) == (0, '', offered)

@pytest.mark.skipif(not shutil.which('fish'), reason='needs fish')
def test_fish_completes(capsys):
    assert cli.main(['completion', 'fish']) == 0
    script = capsys.readouterr().out + "complete -C 'sound-video data render --s'"
    r = subprocess.run(['fish', '-N', '-c', script], capture_output=True, text=True, timeout=30)
    assert r.stdout.split() == ['--scenes', '--seconds', '--seed', '--size']
