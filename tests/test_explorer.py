"""The explorer without a browser, and in one: sounds and pictures come in, knobs change the preview, a click makes a
video, or changes the picture."""
import base64, html, io, os, re, shutil, socket, subprocess, sys, threading, time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
import ipywidgets as W, numpy as np, pytest
from ipywidgets.widgets.widget import _instances
from PIL import Image
from sound_video.app.explorer import (
    Background, EditSettings, Explorer, Settings, code_of, edit_code_of, from_file, overheard, run_explorer,
    used_curves, write_app)
from sound_video.media.images import read_image, write_image
from sound_video.media.videos import probe, read_frames
from sound_video.media.sounds import read_sound
from sound_video.app.edit import SoundVideo
from sound_video.app.world import WorldVideo
import tiny_pack

def wav(path, seconds=1., rate=22050, channels=1, level=.2):
    import soundfile
    soundfile.write(path, level * np.random.default_rng(0).standard_normal((round(seconds*rate), channels)), rate)
    return path

@pytest.fixture(scope='module')
def pack(tmp_path_factory): # with coarse, mid and fine layers
    return tiny_pack.make(tmp_path_factory.mktemp('explorer')/'pack', 32, moves=True)

@pytest.fixture
def explorer(pack, tmp_path):
    (tmp_path/'out').mkdir()
    e = Explorer(wav(tmp_path/'rain.wav'), pack, tmp_path/'out')
    assert e.background.settle()
    yield e
    e.close()

def noise(path, height=64, width=96):
    "A picture of which no two pixels are alike."
    return write_image(path, np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))

def wait_for(ready, seconds):
    end = time.time() + seconds
    while not ready():
        assert time.time() < end, 'waited in vain'
        time.sleep(.1)

def threads(): return [t for t in threading.enumerate() if t.name == 'explorer']
def shows(e): return [type(w) for w in e.stage.children]
def frames_of(film): return np.stack(list(film.frames()))

@pytest.mark.parametrize(
    'settings',
    [
        Settings(),
        Settings(scenes={'raining': 0.3, 'thunder': 0.2}, seed=5, psi=1.1, speed=0.4, layers=('mid',)),
        Settings(prompt="it's \"rain\"\\", mix=0.9, fps=25),
        Settings(motion='reactive', layers=()),
    ],
    ids=range(4),
)
def test_the_code_makes_the_same_film(pack, tmp_path, settings, monkeypatch):
    source = from_file(wav(tmp_path/"it's a 'sound'\\.wav"))
    monkeypatch.chdir(tmp_path)
    exec(code_of(source, settings, 'a.mp4', pack), found := {})
    assert (
        frames_of(found['film']) == frames_of(SoundVideo.load(pack).generate(source.sound, **settings.arguments()))
    ).all()
    assert probe('a.mp4').frames == settings.fps

def test_the_code_makes_the_same_film_of_the_world(tmp_path, monkeypatch):
    source = from_file(wav(tmp_path/'a.wav'))
    settings = Settings(engine='world', size='64x64', fps=12, scenes={'fire crackling': .4}, preset='pulse', seed=2,
        prompt='a blue night')
    monkeypatch.chdir(tmp_path)
    exec(code_of(source, settings, 'a.mp4'), found := {})
    assert (frames_of(found['film']) == frames_of(WorldVideo().generate(source.sound, **settings.arguments()))).all()
    assert probe('a.mp4').size == (64, 64)

@pytest.mark.parametrize('settings', [EditSettings(), EditSettings('rain', .8, .5, 1.5, 3, True)], ids=range(2))
def test_the_code_makes_the_same_picture(pack, tmp_path, settings, monkeypatch):
    source, picture = from_file(wav(tmp_path/'rain.wav')), noise(tmp_path/"a 'hill'.png")
    monkeypatch.chdir(tmp_path)
    exec(edit_code_of(picture, source, settings, 'a.png', pack), {})
    same = SoundVideo.load(pack).edit(picture, source.sound, **settings.arguments())
    assert (read_image('a.png') == same.picture).all() and (same.picture != same.original).any()

@pytest.mark.parametrize('engine', ['model', 'world'])
@pytest.mark.parametrize('prompt, scenes, pulses', [
    ('', {}, True), ('a quiet night', {}, True), ('a campfire', {}, False), ('', {'raining': 1.}, False)])
def test_the_curves_are_those_of_the_video(engine, prompt, scenes, pulses, capsys):
    "Music for which nothing is named gets the preset `pulse`."
    from sound_video.hearing.others import synthesise_music
    song, sv = (synthesise_music(10**6 + 3, 6.)[None], 22050), SoundVideo.load(device='cpu')
    maker, settings = sv if engine == 'model' else WorldVideo(sv), Settings(engine=engine, prompt=prompt, scenes=scenes)
    maker.generate(song, **settings.arguments())
    assert ('with the preset pulse' in capsys.readouterr().err) == pulses
    expected = used_curves(maker, song, Settings(engine=engine, preset='pulse')) if pulses else {}
    assert {k: v.tolist() for k, v in used_curves(maker, song, settings).items()} == {
        k: v.tolist() for k, v in expected.items()}

def test_the_world_is_explored(explorer):
    knobs = explorer.knobs
    knobs.engine.value, knobs.size.value, knobs.drive.value = 'world', '720x1280', 'zoom=1+.2*bass, hour=12+2*treble'
    assert explorer.background.settle() and 'preview of' in explorer.status.value
    assert "WorldVideo().generate(sound, drive='zoom=1+.2*bass, hour=12+2*treble', size='720x1280')" in html.unescape(
        explorer.code.value)
    assert explorer.timeline.value.count('<polyline') == 2 and '>treble</span>' in explorer.timeline.value
    knobs.drive.value = 'zoom=1+bas'
    assert explorer.background.settle() and 'did you mean bass' in explorer.status.value
    knobs.engine.value, knobs.drive.value = 'model', ''
    assert explorer.background.settle() and '<polyline' not in explorer.timeline.value

def test_one_thread_whoever_asks():
    done, background, most = [], Background('a', 'b', patience=.1), 0
    def job(name):
        def run(tick):
            nonlocal most
            for _ in range(3): most = max(most, len(threads())); time.sleep(.001); tick()
            done.append(name)
        return run
    def ask(k):
        for i in range(50): background.submit('ab'[i % 2], job((k, i)), wait=.001 * (i % 3))
    askers = [threading.Thread(target=ask, args=(k,)) for k in range(4)]
    for t in askers: t.start()
    for t in askers: t.join()
    assert background.settle() and most == 1
    assert [[i for _, i in done if i % 2 == lane][-1] for lane in (0, 1)] == [48, 49] and len(
        done
    ) < 200  # the last of each lane, and not all the others
    wait_for(lambda: not threads(), 10)
    background.submit('a', job('again'))
    assert background.settle() and done[-1] == 'again'

def test_explorers_come_and_go(pack, tmp_path):
    sound, homes, before = wav(tmp_path/'rain.wav'), [], len(_instances)
    for _ in range(4):
        e = Explorer(sound, pack, tmp_path)
        e.background.patience = .1
        assert e.background.settle()
        homes.append(Path(e.home.name))
        e.close()
    wait_for(lambda: not threads(), 10)
    assert not any(h.exists() for h in homes)
    assert len(_instances) == before # no widget is left

def test_a_newer_sound_ends_the_film(explorer, tmp_path):
    explorer.use(lambda: from_file(wav(tmp_path/'long.wav', 40.)))
    assert explorer.background.settle() and '40 s' in explorer.player.value
    explorer.make.click()
    assert explorer.make.disabled and not explorer.stop.disabled
    assert 'film' in explorer.background.newest # the click has not waited for it
    explorer.use(lambda: from_file(tmp_path/'rain.wav'))
    assert explorer.background.settle() and explorer.source.name == 'rain'
    assert not explorer.make.disabled and explorer.made is None and W.Video not in shows(explorer)

def test_cancel_leaves_nothing(explorer):
    explorer.knobs.fps.value = 60
    explorer.make.click()
    explorer.stop.click()
    assert (
        explorer.background.settle() and explorer.made is None and explorer.save.disabled and not explorer.make.disabled
    )
    wait_for(lambda: not list(Path(explorer.home.name).iterdir()), 10)

def test_what_is_saved_is_what_was_shown(explorer, monkeypatch):
    explorer.knobs.seed.value = 3
    explorer.make.click()
    assert explorer.background.settle()
    explorer.knobs.seed.value = 4 # moved after the video was made
    explorer.save.click()
    assert explorer.background.settle()
    out = explorer.folder
    assert sorted(p.name for p in out.iterdir()) == ['rain-video.mp4', 'rain-video.py', 'rain.wav']
    script, video = (out/'rain-video.py').read_text(), (out/'rain-video.mp4').read_bytes()
    assert 'seed=3' in script and video == next(w for w in explorer.stage.children if isinstance(w, W.Video)).value
    monkeypatch.chdir(out)
    exec(script, {})
    assert (out/'rain-video.mp4').read_bytes() == video # the code makes the very file

# Pictures

def pictures(e): # as the browser gets them
    uris = re.findall('src="data:image/jpeg;base64,(.*?)"', e.editor.pair.value)
    return [Image.open(io.BytesIO(base64.b64decode(x))) for x in uris]

def shown(e): return [im.size for im in pictures(e)]

def edit(e, picture):
    e.editor.take(picture)
    assert e.background.settle()
    e.editor.make.click()
    assert e.background.settle()

def test_a_picture_is_shown_small_and_saved_whole(explorer, tmp_path, monkeypatch):
    edit(explorer, noise(tmp_path/'hill.jpg', 900, 1500))
    assert shown(explorer) == [(1024, 614)] * 2 and 'type="range"' in explorer.editor.pair.value
    explorer.editor.knobs.light.value = .5 # moved after the picture was edited
    assert 'light=0.5' in explorer.editor.code.value
    explorer.editor.save.click()
    out = explorer.folder
    assert 'saved hill-rain.jpg and hill-rain.py' in explorer.status.value
    assert sorted(p.name for p in out.iterdir()) == ['hill-rain.jpg', 'hill-rain.py', 'hill.jpg', 'rain.wav']
    saved, script = (out/'hill-rain.jpg').read_bytes(), (out/'hill-rain.py').read_text()
    assert read_image(out/'hill-rain.jpg').shape == (900, 1500, 3) and 'light' not in script
    monkeypatch.chdir(out)
    exec(script, {})
    assert (out/'hill-rain.jpg').read_bytes() == saved # the code makes the very file

def test_what_edit_says_is_read(explorer, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('sound_video.app.edit._FAR', -1.) # no picture is known
    edit(explorer, noise(tmp_path/'hill.png'))
    assert 'hill.png, changed by rain; the picture is unlike what this model knows' in explorer.status.value
    explorer.editor.knobs.force.value = True
    edit(explorer, tmp_path/'hill.png')
    assert explorer.status.value.endswith('>hill.png, changed by rain</span>')
    assert 'unlike' not in capsys.readouterr().err

def test_other_threads_are_not_overheard(capsys):
    def both():
        other = threading.Thread(target=lambda: print('other', file=sys.stderr))
        other.start(); other.join()
        print('own', file=sys.stderr)
        return 7
    assert overheard(both) == (7, ['own']) and capsys.readouterr().err == 'other\n'
    with pytest.raises(ZeroDivisionError): overheard(lambda: 1/0)
    print('after', file=sys.stderr)
    assert capsys.readouterr().err == 'after\n'

def test_an_edit_that_is_not_wanted_is_forgotten(explorer, tmp_path):
    editor = explorer.editor
    assert editor.make.disabled and editor.save.disabled
    editor.take(noise(tmp_path/'hill.png'))
    assert explorer.background.settle() and shown(explorer) == [(96, 64)] and not editor.make.disabled
    editor.make.click()
    assert editor.make.disabled and not editor.stop.disabled
    editor.stop.click()
    assert explorer.background.settle() and 'cancelled' in explorer.status.value
    assert editor.made is None and editor.save.disabled and not editor.make.disabled and len(shown(explorer)) == 1
    edit(explorer, tmp_path/'hill.png')
    assert editor.made and len(shown(explorer)) == 2
    explorer.use(lambda: from_file(wav(tmp_path/'other.wav'))) # an edit belongs to its sound
    assert explorer.background.settle() and editor.made is None and editor.save.disabled and len(shown(explorer)) == 1
    assert 'hill-other.png' in editor.code.value

def test_an_edit_while_a_film_is_made(explorer, tmp_path):
    "It needs gradients, which the film has switched off for itself."
    explorer.editor.take(noise(tmp_path/'hill.png'))
    explorer.use(lambda: from_file(wav(tmp_path/'long.wav', 20.)))
    assert explorer.background.settle()
    said = []
    explorer.status.observe(lambda change: said.append(change['new']), 'value')
    explorer.make.click()
    wait_for(lambda: explorer.progress.value > 0, 60)
    explorer.editor.make.click()
    assert explorer.background.settle() and explorer.made and explorer.editor.made
    assert len(shown(explorer)) == 2 and not any('sv-wrong' in x for x in said)
    assert 'changed by' in said[1] and 'video of' in said[-1] # it did not wait for the film

def test_what_is_no_picture_gets_one_line(explorer, tmp_path):
    editor = explorer.editor
    editor.entry.take(dict(id=0, name='notes.png', size=5), b'Hello')
    assert explorer.background.settle() and 'sv-wrong' in explorer.status.value and editor.make.disabled
    assert ">'notes.png' is not a picture, or is damaged: it cannot be read<" in html.unescape(explorer.status.value)
    edit(explorer, noise(tmp_path/'hill.png'))
    explorer.folder = tmp_path/'nowhere'
    editor.save.click()
    assert 'cannot write' in explorer.status.value and 'sv-wrong' in explorer.status.value

def test_a_picture_from_the_start(pack, tmp_path):
    e = Explorer(wav(tmp_path/'rain.wav'), pack, tmp_path, noise(tmp_path/'hill.png'))
    assert e.background.settle() and e.tabs.selected_index == 1 and e.editor.picture == tmp_path/'hill.png'
    assert len(shown(e)) == 1 and not e.editor.make.disabled
    e.close()

def test_what_is_transparent_is_shown_on_white(explorer, tmp_path):
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(tmp_path/'clear.png')
    edit(explorer, tmp_path/'clear.png')
    assert len(shown(explorer)) == 2 and all(np.array(im).min() > 250 for im in pictures(explorer))

def test_pieces_of_any_size(explorer, tmp_path):
    data = wav(tmp_path/'thunder.wav', 2., channels=2).read_bytes()
    for at in range(0, len(data), 1 << 14):
        explorer.entry._handle_custom_msg(
            dict(id=1, name='thunder.wav', size=len(data)), [memoryview(data[at : at + (1 << 14)])]
        )
    assert explorer.background.settle() and explorer.source.name == 'thunder' and '2 s' in explorer.player.value

@pytest.mark.parametrize(
    'name, data, says',
    [
        ('notes.txt', b'Hello', "'notes.txt' is neither"),
        ('nothing.wav', b'', "'nothing.wav' is empty"),
        ('<img onerror=x>.wav', b'x', '_img onerror_x_.wav'),
    ],
)
def test_what_is_no_sound_gets_one_line(explorer, name, data, says):
    explorer.entry.take(dict(id=0, name=name, size=len(data)), data)
    assert explorer.background.settle()
    assert (
        says in explorer.status.value.replace('&#x27;', "'")
        and '\n' not in explorer.status.value
        and 'sv-wrong' in explorer.status.value
    )
    explorer.knobs.seed.value = 9 # goes on with the sound that was there
    assert explorer.background.settle() and 'preview' in explorer.status.value

def test_silence_and_mistakes(explorer, tmp_path):
    explorer.use(lambda: from_file(wav(tmp_path/'silence.wav', level=0.)))
    assert explorer.background.settle() and 'silence' in explorer.timeline.value
    explorer.knobs.prompt.value = 'qwxz'
    assert explorer.background.settle() and 'never read a word' in explorer.status.value
    explorer.folder = tmp_path/'nowhere'
    explorer.knobs.prompt.value = ''
    explorer.make.click()
    assert explorer.background.settle()
    explorer.save.click()
    assert 'cannot write' in explorer.status.value

def test_a_model_that_can_only_react(tmp_path):
    e = Explorer(
        wav(tmp_path / 'rain.wav'), tiny_pack.make(tmp_path / 'pack', class_names=('raining', 'thunder')), tmp_path
    )
    assert (
        e.background.settle()
        and 'preview of' in e.status.value
        and e.knobs.motion.value == 'reactive'
        and not e.examples.value
    )
    e.knobs.scenes['thunder'].value = 1.
    e.make.click()
    assert e.background.settle() and e.made and W.Video in shows(e) and 'thunder' in e.status.value
    e.close()

def test_the_command(monkeypatch, capsys, tmp_path):
    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['sound-video-explorer', '--port=1'])
    monkeypatch.setattr(subprocess, 'call', lambda a: calls.append((a, Path(a[3]).read_text())))
    monkeypatch.setattr('sound_video.app.explorer.find_spec', lambda name: True)
    run_explorer()
    assert calls[0][0][1:3] == ['-m', 'voila'] and calls[0][0][4:] == ['--port=1'] and tmp_path.name in calls[0][1]
    monkeypatch.setattr('sound_video.app.explorer.find_spec', lambda name: None)
    assert run_explorer() == 2 and 'pip install voila' in capsys.readouterr().err

# In a browser

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
MISSING = [
    name
    for name, there in dict(Chromium=CHROMIUM, Voilà=find_spec('voila'), playwright=find_spec('playwright')).items()
    if not there
]

def listens(port):
    with socket.socket() as s: return s.connect_ex(('127.0.0.1', port)) == 0

@contextmanager
def served(folder):
    "The address of a page with the explorer, whose results go to the folder."
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    app = write_app(folder/'app.ipynb', folder)
    with open(folder/'voila.log', 'w') as log:
        server = subprocess.Popen(
            [sys.executable, '-m', 'voila', str(app), '--no-browser', f'--port={port}', '--Voila.ip=127.0.0.1'],
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(lambda: listens(port), 60)
            yield f'http://127.0.0.1:{port}/'
        finally: server.terminate(); server.wait(20)

@contextmanager
def opened(url, **size):
    "The page, with the preview made, and a list of what the browser complains about."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
        )
        page, wrong = browser.new_page(viewport=size), []
        page.route('**/cdn.jsdelivr.net/**', lambda route: route.fulfill(body='')) # fonts that Voilà would like to have
        page.on('console', lambda m: m.type == 'error' and wrong.append(m.text))
        page.on('pageerror', lambda e: wrong.append(str(e)))
        page.goto(url, timeout=120_000)
        page.wait_for_selector('.sv-strip img', timeout=60_000)
        yield page, wrong
        browser.close()

def button(page, name): return page.get_by_role('button', name=name)
def strip(page): return page.locator('.sv-strip img').get_attribute('src')
def says(page, text): page.wait_for_selector(f'.sv-explorer :text("{text}"):visible', timeout=120_000)

def make_video(page):
    "Click, and wait until the browser can play it."
    button(page, 'Make video').click()
    page.wait_for_function("document.querySelector('video')?.readyState >= 2", timeout=60_000)

BYTES = """async () => {
  const bytes = new Uint8Array(await (await fetch(document.querySelector('video').src)).arrayBuffer())
  return btoa(Array.from(bytes, b => String.fromCharCode(b)).join(''))
}"""

DROP = """async ([name, data]) => {
  const parts = new DataTransfer(), bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0))
  parts.items.add(new File([bytes], name))
  document.querySelector('.sv-input').dispatchEvent(
    new DragEvent('drop', {dataTransfer: parts, bubbles: true, cancelable: true}))
}"""

def check_video(page, path, frames, seconds, rate):
    "The bytes that the browser plays are a film with its sound."
    path.write_bytes(base64.b64decode(page.evaluate(BYTES)))
    info = probe(path)
    assert (info.frames, info.rate, info.size) == (frames, rate, (256, 256)) and abs(info.seconds - seconds) < .02
    assert abs(page.evaluate("document.querySelector('video').duration") - seconds) < .05
    assert read_sound(path)[0].abs().max() > .05 and np.std(list(read_frames(path))) > 5
    page.evaluate("v => { v = document.querySelector('video'); v.muted = true; return v.play() }")
    page.wait_for_function("document.querySelector('video').currentTime > .1", timeout=20_000)

def check_knobs(page):
    "A knob changes the preview, and the code."
    before, seed = strip(page), page.get_by_role('spinbutton', name='seed')
    seed.fill('7'); seed.press('Enter')
    page.wait_for_function("old => document.querySelector('.sv-strip img').src != old", arg=before, timeout=60_000)
    says(page, 'seed=7')

def check_picture(page, folder):
    "A picture is edited, and a slider moves the border between before and after."
    page.get_by_role('tab', name='Picture').click()
    place = page.locator('.sv-input', has_text='Choose a picture')
    place.locator('input').set_input_files(noise(folder/'hill.png', 180, 320))
    says(page, 'hill.png, 320 × 180 pixels')
    button(page, 'Edit picture').click()
    says(page, 'hill.png, changed by thunder; the picture is unlike what this model knows')
    check_slider(page, page.get_by_label('border between before and after'))
    button(page, 'Save').click()
    says(page, 'saved hill-thunder.png and hill-thunder.py')
    assert read_image(folder/'hill-thunder.png').shape == (180, 320, 3)

def check_slider(page, slider):
    "It is as large as the pictures, and moves by keys and by the mouse."
    def border(): # in parts of the width, as it is drawn
        clip = page.locator('.sv-before').evaluate('e => getComputedStyle(e).clipPath')
        right = re.fullmatch(r'inset\(0px calc\(100% - ([\d.]+)%\) 0px 0px\)', clip) or re.fullmatch(
            r'inset\(0px ([\d.]+)% 0px 0px\)', clip)
        return float(right[1]) / 100 if 'calc' in clip else 1 - float(right[1]) / 100
    assert border() == .5
    slider.press('ArrowRight')
    assert border() == .505
    slider.press('Home')
    assert border() == 0
    box = page.locator('.sv-pair').bounding_box()
    x, y = (lambda part: box['x'] + part * box['width']), box['y'] + box['height'] / 4
    page.mouse.move(x(.2), y); page.mouse.down(); page.mouse.move(x(.8), y, steps=5); page.mouse.up()
    assert abs(border() - .8) < .02

def check_entries(page, folder):
    "Sounds come in by the chooser, dropped, and by the microphone."
    page.set_input_files('.sv-input input', wav(folder/'chosen.wav', 15., 44100)) # more than one piece
    says(page, 'chosen, 15 s')
    page.evaluate(DROP, ['dropped.wav', base64.b64encode(wav(folder/'d.wav', 2.).read_bytes()).decode()])
    says(page, 'dropped, 2 s')
    page.evaluate(DROP, ['notes.txt', base64.b64encode(b'Hello').decode()])
    says(page, 'is neither a sound nor a video')
    button(page, 'Record').click()
    page.wait_for_timeout(1500)
    button(page, 'Stop (').click()
    says(page, 'recording, ')

@pytest.mark.skipif(
    bool(MISSING) and not os.environ.get('SOUND_VIDEO_BROWSER'),
    reason=f"needs {', '.join(MISSING)}: pip install '.[dev]', apt-get install chromium",
)
def test_in_a_browser(tmp_path):
    assert not MISSING, MISSING # a run that must have a browser says so by SOUND_VIDEO_BROWSER
    with served(tmp_path) as url, opened(url, width=1100, height=960) as (page, wrong):
        button(page, 'Make video').click(); button(page, 'Cancel').click()
        says(page, 'cancelled')
        assert not page.query_selector('video')
        check_knobs(page)
        make_video(page)
        check_video(page, tmp_path/'played.mp4', 240, 8., 22050)
        button(page, 'Save').click()
        says(page, 'saved thunder-video.mp4 and thunder-video.py')
        assert (tmp_path/'thunder-video.mp4').read_bytes() == (tmp_path/'played.mp4').read_bytes()
        check_picture(page, tmp_path)
        check_entries(page, tmp_path)
        page.set_viewport_size(dict(width=390, height=800)) # nothing sticks out on a telephone
        for tab in ('Picture', 'Video'):
            page.get_by_role('tab', name=tab).click()
            assert page.evaluate('document.scrollingElement.scrollWidth') <= 390
        # Jupyter's widget manager may ask for a widget that was closed in the meantime: nothing is missing on the page
        assert not [w for w in wrong if 'widget model not found' not in w], wrong

if __name__ == '__main__': # the picture in the notebook
    import tempfile
    picture = Path(__file__).parents[1]/'nbs/images/explorer.jpg'
    with tempfile.TemporaryDirectory() as tmp, served(Path(tmp)) as url, opened(
        url + '?theme=' + (sys.argv[1] if sys.argv[1:] else 'light'),
        width=int((sys.argv[2:] or [1060])[0]),
        height=1280,
    ) as (page, wrong):
        page.get_by_role('textbox', name='prompt', exact=True).fill('a campfire')
        says(page, "prompt='a campfire'")
        page.wait_for_function("document.querySelectorAll('.sv-timeline polygon').length > 3", timeout=60_000)
        make_video(page)
        page.wait_for_timeout(1500)
        page.screenshot(path=sys.argv[3] if sys.argv[3:] else picture, type='jpeg', quality=62)
