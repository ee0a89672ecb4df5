"Files in the format of NVIDIA's PyTorch snapshots, made of generators of ours."
import io, pickle, sys, types
from collections import OrderedDict
from unittest.mock import patch
import numpy as np, torch
from torch import nn
from sound_video.core.devices import seed_all
from sound_video.stylegan.stylegan2 import Generator, StyleGAN2Config
from sound_video.stylegan.stylegan3 import StyleGAN3, StyleGAN3Config

SOURCE = 'import os\nos.mkdir(os.environ["SOUND_VIDEO_CANARY"])\n' # what their loader would execute

def _reconstruct_persistent_obj(meta): raise RuntimeError('a test has executed its own snapshot')
class EasyDict(dict): pass
_reconstruct_persistent_obj.__module__,EasyDict.__module__ = 'torch_utils.persistence','dnnlib.util'
MODULES = {name: types.ModuleType(name) for name in ('torch_utils', 'torch_utils.persistence', 'dnnlib', 'dnnlib.util')}
MODULES['torch_utils.persistence']._reconstruct_persistent_obj, MODULES['dnnlib.util'].EasyDict = (
    _reconstruct_persistent_obj,
    EasyDict,
)

def state_of(m, **attributes):
    "The state of a module, with the kinds of things that theirs have."
    return (
        dict(
            training=False,
            _parameters=dict(m._parameters),
            _buffers=dict(m._buffers),
            _modules=dict(m._modules),
            _non_persistent_buffers_set=set(),
            _forward_hooks=OrderedDict(),
            use_fp16=np.bool_(False),
            in_size=np.array([4, 4]),
            bandwidth=np.float64(2.0),
        )
        | attributes
    )

class Pickler(pickle.Pickler):
    "Writes modules as theirs are; `extra` is {module: attributes}."
    def __init__(self, file, protocol, extra): super().__init__(file, protocol); self.extra = extra
    def reducer_override(self, obj):
        if not isinstance(obj, nn.Module): return NotImplemented
        meta = dict(
            type='class',
            version=6,
            module_src=SOURCE,
            class_name=type(obj).__name__,
            state=state_of(obj, **self.extra.get(obj, {})),
        )
        return _reconstruct_persistent_obj,(meta,)

def dumps(networks, extra={}, protocol=4):
    "The bytes of a snapshot."
    buf = io.BytesIO()
    with patch.dict(sys.modules, MODULES): Pickler(buf, protocol, extra).dump(networks)
    return buf.getvalue()

def arguments(G):
    "What their generator would have been made with."
    kw = G.cfg.to_dict()
    layers = kw.pop('mapping_layers' if isinstance(G, StyleGAN3) else 'num_layers')
    return EasyDict(kw, mapping_kwargs=EasyDict(num_layers=layers), num_fp16_res=4)

def snapshot(G, protocol=4, kwargs=None, args=(), **more):
    "A whole snapshot of a generator."
    made = dict(_init_args=args, _init_kwargs=arguments(G) if kwargs is None else kwargs, z_dim=G.cfg.z_dim)
    return dumps(
        dict(G=None, D=None, G_ema=G, augment_pipe=None, training_set_kwargs=EasyDict(path='x', use_labels=True))
        | more,
        {G: made},
        protocol,
    )

def lively(G):
    "Numbers that nothing has by default."
    for k,v in G.state_dict().items():
        if k.endswith(('bias', 'noise_strength', 'w_avg')): v += torch.randn_like(v) * .1
        if k.endswith('magnitude_ema'): v.uniform_(.5, 2.)
    return G.eval()

def stylegan2(seed=0, **kw):
    seed_all(seed)
    return lively(
        Generator(
            StyleGAN2Config(
                **dict(z_dim=16, w_dim=12, img_resolution=16, channel_base=128, channel_max=12, num_layers=2) | kw
            )
        )
    )

def stylegan3(seed=0, **kw):
    seed_all(seed)
    return lively(
        StyleGAN3(
            StyleGAN3Config(
                **dict(z_dim=16, w_dim=12, img_resolution=16, channel_base=128, channel_max=12, num_layers=4) | kw
            )
        )
    )

KINDS = {
    'StyleGAN2': stylegan2,
    'StyleGAN2 with classes': lambda: stylegan2(c_dim=3),
    'StyleGAN3-T': stylegan3,
    'StyleGAN3-T with classes': lambda: stylegan3(c_dim=2, margin_size=6, output_scale=0.5, first_cutoff=1.5),
    'StyleGAN3-R': lambda: stylegan3(
        conv_kernel=1, use_radial_filters=True, channel_max=20, conv_clamp=None, last_stopband_rel=1.3
    ),
}
