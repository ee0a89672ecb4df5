"""The shipped model edits pictures and videos: is the sound seen, is the picture kept, and does every kind of file go
in?"""
import sys
from pathlib import Path
import numpy as np, pytest, soundfile, torch
from PIL import Image, ImageCms, ImageDraw
from safetensors.torch import save_file
from sound_video.app.cli import main
from sound_video.core.arrays import to_uint8
from sound_video.core.errors import UserError
from sound_video.editing.latents import flicker
from sound_video.media.videos import probe, read_frames, write_video
from sound_video.media.images import read_image, read_still, write_image
from sound_video.app.generate import prompt_vector
from sound_video.app.edit import SoundVideo
from sound_video.motion.inversion import sample_vectors
from sound_video.world.clips import render, stills
sys.path += [str(Path(__file__).parents[1]/'benchmarks'), str(Path(__file__).parent)]
import table_editing as table, tiny_pack

RATE = 8000

@pytest.fixture(scope='module')
def model(): return SoundVideo.load(device='cpu')

@pytest.fixture(scope='module')
def rain(): return (c := render('raining', 29, 5., 1, 16)).sound, c.rate

@pytest.fixture(scope='module')
def files(tmp_path_factory, rain):
    "A picture, a video of 2 s with a sound, and sounds of 1 s and 3 s."
    folder = tmp_path_factory.mktemp('files')
    write_image(folder/'hills.png', to_uint8(stills('wind noise', torch.tensor([59]), 96))[0])
    clip = render('splashing water', 29, 2., 12, 96, RATE)
    write_video(folder/'lake.mp4', clip.frames, 12, (clip.sound, RATE))
    for seconds in (1, 3):
        write_video(
            folder / f'rain{seconds}.mp4',
            np.zeros((seconds, 16, 16, 3), np.uint8),
            1,
            (rain[0][:, : seconds * rain[1]], rain[1]),
        )
    return folder

@pytest.fixture(scope='module')
def inverted(model):
    x = table.pictures(1)
    return x, table.inversion(model, x, 40, 1000)

def test_inversion_beats_a_search_over_samples(inverted):
    rows = list(inverted[1][0].values())
    for measure in ('mse', 'perceptual'):
        near, encoder, refined = (row[measure] for row in rows)
        assert refined < encoder and refined < near / 2, rows

def test_edits_are_seen_by_clip_and_keep_the_picture(model, inverted):
    x = table.pictures(4)
    with torch.no_grad(): direct = table.edits(model, x, model.image_encoder(x), 4, 0, ['direct'])['direct']
    assert direct['rises'] >= .9 and direct['scene'] >= .8, direct
    x, (_, w0) = inverted
    rows = table.edits(model, x, w0, 1, 20, ['optimised', 'unregularised'])
    assert rows['optimised']['rises'] >= .9 and rows['optimised']['identity'] > rows['unregularised']['identity'], rows

def test_a_video_keeps_its_motion_and_turns_to_what_is_heard(model):
    "Waves under thunder: quick motion stays where it was, but for the thunder's own flashes."
    dry, whole = (table.video(model, 3, 5, 3., 15, steps=10, weather=w) for w in (0., 1.))
    assert dry['flicker'] <= 1.1 and dry['motion'] >= .9 and whole['gain'] > dry['gain'] > 0, (dry, whole)

def test_a_calm_video_is_not_made_to_flicker(model):
    "A fire raises the contrast of this rain."
    found = table.video(model, 2, 1, 3., 15, steps=0, weather=0.)
    assert found['flicker'] <= 1.1, found

def test_an_edit_follows_the_timeline(model):
    "Six seconds of rain, then six under water: blue comes with the water."
    parts = [render(s, 29, 6., 1, 16) for s in ('raining', 'underwater bubbling')]
    sound = np.concatenate([np.asarray(c.sound) for c in parts], 1), parts[0].rate
    frames = np.repeat(to_uint8(stills('splashing water', torch.tensor([29]), 64)), 24, 0)
    made = np.asarray(model.edit(frames, sound, fps=2, steps=4, force=True)).astype(float)
    blue = made[..., 2].mean((1, 2)) - made[..., 0].mean((1, 2))
    assert blue[-4:].min() > blue[:4].max() + 10, blue

def forms(folder, x):
    "The same picture in many forms, by name."
    im = Image.fromarray(x)
    turned = Image.Exif()
    turned[0x0112] = 6
    im.save(folder / 'turned.jpg', exif=turned, quality=95)
    im.convert('L').save(folder / 'grey.png')
    clear = im.convert('RGBA')
    clear.putalpha(Image.linear_gradient('L').resize(im.size))
    clear.save(folder / 'alpha.png')
    im.convert('CMYK').save(folder / 'inks.jpg')
    im.resize((4000, 1)).save(folder / 'line.png')
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    im.resize((90, 160)).save(folder / 'tall.png', icc_profile=profile)
    Image.fromarray(x[..., 0].astype(np.uint16) * 257).save(folder / 'deep.png')
    im.convert('P').save(folder / 'palette.gif')
    im.resize((301, 77)).save(folder / 'wide.webp')
    im.save(
        folder / 'moving.gif',
        save_all=True,
        append_images=[Image.fromarray(np.roll(x, 9 * i, 1)) for i in range(1, 6)],
        duration=100,
    )
    return sorted(folder.iterdir())

def test_pictures_of_every_form(model, rain, tmp_path, capsys):
    for path in forms(tmp_path, to_uint8(stills('wind noise', torch.tensor([59]), 96))[0]):
        made = model.edit(path, rain, steps=2, force=True)
        if path.name == 'moving.gif': assert len(made) == 6 and next(made.frames()).shape == (96, 96, 3)
        else: assert made.picture.shape == read_image(path).shape and (made.picture != made.original).any(), path
    assert capsys.readouterr().err.count('16 bits a colour') == 1

def test_what_a_file_says_is_kept(model, rain, tmp_path):
    forms(tmp_path, to_uint8(stills('wind noise', torch.tensor([59]), 96))[0])
    for name in ('alpha.png', 'tall.png', 'turned.jpg'):
        before, made = read_still(tmp_path/name), model.edit(tmp_path/name, rain, steps=2)
        after = read_still(made.save(tmp_path/f'new {name}'))
        assert after.info.keys() == before.info.keys() and after.pixels.shape == before.pixels.shape
        assert name != 'alpha.png' or (after.alpha == before.alpha).all() and before.alpha.min() < 5

def test_moving_pictures_that_cannot_be_read_are_named(files, tmp_path, capsys):
    ims = [Image.new('RGB', (32, 32), c) for c in ('red', 'blue')]
    ims[0].save(tmp_path/'moving.webp', save_all=True, append_images=ims[1:])
    assert main(['edit', str(tmp_path/'moving.webp'), str(files/'rain1.mp4'), '-o', str(tmp_path/'out.png')]) == 2
    assert 'holds 2 pictures' in capsys.readouterr().err

def screenshot():
    "Lines of text on a page, uint8 [H, W, 3]."
    page = Image.new('RGB', (480, 320), (250, 250, 250))
    draw = ImageDraw.Draw(page)
    for y in range(10, 310, 16): draw.text((12, y), f'line {y} of a page that nobody drew', (20, 20, 20))
    return np.asarray(page)

def test_text_stays_legible_and_is_called_unknown(model, capsys):
    "Ink stays darker than paper, in every line, by at least a fifth of what it was."
    page = screenshot()
    ink = page.mean(2) < 100
    for scene in ('raining', 'fire crackling', 'thunder', 'underwater bubbling'):
        clip = render(scene, 29, 5., 1, 16)
        made = model.edit(page, (clip.sound, clip.rate), steps=10)
        assert 'unlike what this model knows' in capsys.readouterr().err
        light = made.picture.astype(float).mean(2)
        contrast = [light[y:y+16][~ink[y:y+16]].mean() - light[y:y+16][ink[y:y+16]].mean() for y in range(10, 300, 16)]
        assert min(contrast) > 45, (scene, min(contrast))

def test_what_the_model_knows_is_not_called_unknown(model, rain, capsys):
    pictures = to_uint8(torch.cat([stills(s, torch.tensor([29]), 256) for s in table.SCENES]))
    made = [model.edit(x, rain, steps=2) for x in pictures]
    assert len(made) == 9 and capsys.readouterr().err.count('unlike') <= 1

def test_a_pack_keeps_what_clip_sees_in_its_images(model, tmp_path):
    kinds, known = model.generator.cfg.c_dim, model.known_vectors
    made = sample_vectors(model.generator, model.hearing.clip, kinds) # a picture of each
    assert known.shape == (512, made.shape[1])
    torch.testing.assert_close(known[:kinds], made, atol=1e-3, rtol=0)
    pack = tiny_pack.make(tmp_path/'pack', moves=True)
    kept, file = SoundVideo.load(pack, 'cpu').known_vectors, pack/'pictures.safetensors'
    for wrong in ({'vectors': kept[:, 1:]}, {'vectors': kept[0]}, {'others': kept}):
        save_file({k: v.contiguous() for k, v in wrong.items()}, file)
        with pytest.raises(UserError, match='pictures.safetensors'):
            SoundVideo.load(pack, 'cpu').known_vectors
    file.unlink() # as in older packs
    torch.testing.assert_close(SoundVideo.load(pack, 'cpu').known_vectors, kept, atol=1e-3, rtol=0)

def test_the_same_seed_gives_the_same_edit(model, rain, files):
    a, b, c = (model.edit(files/'hills.png', rain, method='optimised', steps=6, seed=s).w for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)

def test_strength_nought_is_the_picture(model, rain, files, tmp_path):
    for method in ('direct', 'optimised'):
        e = model.edit(files/'hills.png', rain, 0., method=method, steps=4)
        assert (read_image(e.save(tmp_path/'same.png')) == read_image(files/'hills.png')).all()

def test_what_is_not_changed_stays(model, files):
    "Without the change of light, what an explosion does not touch is the picture's own; the world draws no such thing."
    blast = render('explosion', 29, 5., 1, 16)
    e = model.edit(files/'hills.png', (blast.sound, blast.rate), light=0., weather=1., steps=4, force=True)
    assert e.change.planes is None
    change = np.abs(e.picture.astype(float) - e.original).max(2)
    assert 0 < (change > 2).mean() < .9 and (change == 0).mean() > .1

def test_what_the_world_draws_is_not_added_by_the_generator_too(model, files):
    for scene, drawn in (('fire crackling', True), ('explosion', False)):
        c = render(scene, 29, 5., 1, 16)
        e = model.edit(files/'hills.png', (c.sound, c.rate), steps=4, force=True)
        assert (e.change.planes is not None) == drawn == (e.change.transfer.added.abs().max() == 0), scene

def test_layers_that_are_not_named_stay(model, rain, files):
    for method in ('direct', 'optimised'):
        e = model.edit(files/'hills.png', rain, layers='mid', method=method, steps=4)
        assert torch.equal(e.w[:, [0, 1, 2, 6, 7]], e.w0[:, [0, 1, 2, 6, 7]]) and not torch.equal(
            e.w[:, 3:6], e.w0[:, 3:6]
        )

def test_words_turn_an_edit_and_keep_it_away(model, rain, files):
    say = lambda e, text: float(
        model.hearing.clip.embed_image(torch.as_tensor(e.edited).permute(2, 0, 1)[None] / 127.5 - 1)
        @ prompt_vector(model, text)
    )
    plain, toward, away = (
        model.edit(files / 'hills.png', rain, steps=10, **kw)
        for kw in ({}, dict(prompt='a campfire', mix=0.8), dict(negative='rain'))
    )
    assert say(toward, 'a campfire') > say(plain, 'a campfire') + .1 and say(away, 'rain') < say(plain, 'rain') - .1

def test_silence_changes_nothing(model, files, capsys):
    e = model.edit(files/'hills.png', (torch.zeros(1, 2*RATE), RATE), steps=2)
    assert (e.picture == e.original).all() and 'silent: nothing is changed' in capsys.readouterr().err
    e = model.edit(
        files / 'hills.png', (torch.zeros(1, 2 * RATE), RATE), prompt='a campfire', prompt_layers='fine', steps=2
    )
    assert torch.equal(e.w[:, :6], e.w0[:, :6]) and not torch.equal(e.w, e.w0) # only the words count

@pytest.mark.parametrize('track', ['new', 'original', 'both'])
@pytest.mark.parametrize('sound', ['rain1.mp4', 'rain3.mp4'])
def test_videos_keep_their_length(files, tmp_path, track, sound):
    out = tmp_path/'out.mp4'
    assert (
        main(['edit', str(files / 'lake.mp4'), str(files / sound), '-o', str(out), '--steps', '2', '--track', track])
        == 0
    )
    info = probe(out)
    assert (info.frames, info.fps, info.size) == (24, 12, (96, 96)) and abs(info.seconds - 2) < 1/12
    assert info.rate == (RATE if track == 'original' else 22050)

def test_a_picture_becomes_a_video(files, tmp_path):
    out = tmp_path/'out.mp4'
    assert (
        main(
            [
                'edit',
                str(files / 'hills.png'),
                str(files / 'rain3.mp4'),
                '-o',
                str(out),
                '--fps',
                '10',
                '--steps',
                '2',
                '--schedule',
                'loudness',
            ]
        )
        == 0
    )
    assert probe(out).frames == 30 and flicker(read_frames(out)) > 0

def test_a_strip_and_a_picture_are_written(files, tmp_path):
    words = [
        str(files / 'hills.png'),
        str(files / 'rain1.mp4'),
        '-o',
        str(tmp_path / 'out.jpg'),
        '--steps',
        '4',
        '--strip',
        str(tmp_path / 'strip.png'),
    ]
    for method in ('direct', 'optimised'):
        assert main(['edit', *words, '--method', method]) == 0
        assert read_image(tmp_path / 'out.jpg').shape == (96, 96, 3)
        assert read_image(tmp_path / 'strip.png').shape == (96, 96 * 9, 3)

def test_mistakes_are_one_line_and_leave_nothing(files, tmp_path, capfd):
    pack = tiny_pack.make(tmp_path/'pack', hears=True)
    (tmp_path/'text.png').write_text('no picture')
    (tmp_path/'empty.jpg').touch()
    (tmp_path/'cut.png').write_bytes((files/'hills.png').read_bytes()[:500])
    for name, seconds in (('nothing.wav', 0), ('quiet.wav', 1)):
        soundfile.write(tmp_path / name, np.zeros(seconds * RATE), RATE)
    hills, lake, rain = files/'hills.png', files/'lake.mp4', files/'rain1.mp4'
    before, mistakes = sorted(tmp_path.iterdir()), {
        'neither a picture nor a video': [tmp_path / 'text.png', rain],
        'is empty': [tmp_path / 'empty.jpg', rain],
        'cannot be read': [tmp_path / 'cut.png', rain],
        'no such file': [tmp_path / 'gone.png', rain],
        'no picture track': [tmp_path / 'quiet.wav', rain, '-o', tmp_path / 'out.mp4'],
        'no length': [hills, tmp_path / 'nothing.wav'],
        'cannot edit': [hills, rain, '--pack', pack],
        'would be a picture': [lake, rain, '-o', tmp_path / 'out.png'],
        'made of': [hills, rain, '-o', hills],
        'choose from coarse': [hills, rain, '--layers', 'rough'],
        'direct or optimised': [hills, rain, '--method', 'magic'],
        '0 to 2': [hills, rain, '--strength', 'much'],
        'does not exist': [hills, rain, '-o', tmp_path / 'no' / 'out.png'],
        'read a word': [hills, rain, '--negative', 'qwxz'],
        '--speed is for a picture': [lake, rain, '-o', tmp_path / 'out.mp4', '--speed', '2'],
        '1 to 120': [hills, rain, '-o', tmp_path / 'out.mp4', '--fps', '0'],
        "choose the track 'new'": [hills, rain, '-o', tmp_path / 'out.mp4', '--track', 'both'],
    }
    for said, words in mistakes.items():
        words = (
            words
            if '-o' in words
            else [*words, '-o', tmp_path / 'out.png' if words[0].suffix != '.mp4' else tmp_path / 'out.mp4']
        )
        capfd.readouterr()
        assert main(['edit', *map(str, words)]) == 2, said
        err = capfd.readouterr().err.strip()
        assert said in err and '\n' not in err and 'Traceback' not in err, (said, err)
    assert sorted(tmp_path.iterdir()) == before
