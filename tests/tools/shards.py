"""Reads and writes shards with h5py, for test_shard.c.

    shards.py check SHARD         exit 0 if h5py reads what test_shard wrote
    shards.py other SHARD         rewrites SHARD like another tool would
    shards.py hostile SHARD       writes SHARD.KIND for every kind of malicious
                                  or damaged file: a copy with one such change
"""
import shutil
import sys

import h5py
import numpy as np


def check(path):
    with h5py.File(path, 'r') as f:
        n = len(f['class'])
        h, w = f['images'].shape[1:3]
        assert f['images'].shape == (n, h, w, 3), f['images'].shape
        assert f['images'].dtype == np.uint8 and f['box'].dtype == '<f4'
        assert f['images'].chunks == (1, h, w, 3)
        assert f['images'].compression is None and not f['images'].fletcher32
        assert f['class'].fletcher32 and f['digest'].dtype == '<u8'
        assert f.attrs['format'] == 1
        assert [c.decode() for c in f.attrs['classes']] == ['cat', 'dög', 'x']
        assert f.attrs['source'].decode() == 'a test'
        for i in range(n):
            pixels = (np.arange(h * w * 3) * 7 + i * 13) % 251
            assert (f['images'][i].ravel() == pixels).all()
            assert f['id'][i].decode() == 'image_%d' % i
            assert f['class'][i] == i % 3
            assert (f['size'][i] == (500 + i, 375)).all()
            assert (f['box'][i] == (i % 4, 1, 7, 8)).all()
            first, last = f['object_start'][i:i + 2]
            assert last - first == i % 3
            for k in range(last - first):
                assert (f['objects'][first + k] == (k, 1, 6, 7.5, k, 1)).all()


def replace(f, name, *args, **kwargs):
    del f[name]
    return f.create_dataset(name, *args, **kwargs)


def virtual(f, name):
    layout = h5py.VirtualLayout(f[name].shape, f[name].dtype)
    layout[:] = h5py.VirtualSource('other.h5', name, f[name].shape)
    del f[name]
    f.create_virtual_dataset(name, layout)


def user_block(path, to):
    """A copy with 512 bytes before the HDF5 superblock."""
    with open(path, 'rb') as f:
        old = f.read()
    with open(to, 'wb') as f:
        f.write(b'u' * 512 + old)


def replace_images(f, **kwargs):
    data = f['images'][:]
    return replace(f, 'images', data=data, **kwargs)


def missing_row(f):
    """Image 0 has no chunk in the file."""
    shape = f['images'].shape
    images = replace(f, 'images', shape, 'u1', chunks=(1,) + shape[1:])
    for i in range(1, shape[0]):
        images[i] = 1


def set_value(f, name, at, value):
    data = f[name][:]
    data[at] = value
    replace(f, name, data=data)


def text_ids(f, dtype):
    ids = f['id'][:]
    replace(f, 'id', data=ids.astype(dtype or object),
            dtype=dtype or h5py.string_dtype())


def attribute(f, name, value):
    del f.attrs[name]
    if value is not None:
        f.attrs[name] = value


def group(f, name):
    del f[name]
    f.create_group(name)


def soft(f):
    f['there'] = f['class']
    del f['class']
    f['class'] = h5py.SoftLink('/there')


def external_link(f):
    del f['class']
    f['class'] = h5py.ExternalLink('other.h5', '/class')


def big_chunk(f):
    del f['objects']
    f.create_dataset('objects', (1, 6), 'f4', maxshape=(None, 6),
                     chunks=(16 << 20, 6))


def compound(f):
    replace(f, 'class', (len(f['id']),), np.dtype([('a', 'i2'), ('b', 'i2')]))


HOSTILE = {
    'external_storage': lambda f: replace(
        f, 'class', f['class'].shape, 'i4',
        external=[('/etc/passwd', 0, 4 * len(f['class']))]),
    'external_link': external_link,
    'soft_link': soft,
    'virtual': lambda f: virtual(f, 'class'),
    'virtual_images': lambda f: virtual(f, 'images'),
    'huge_chunked': lambda f: replace(f, 'objects', (1 << 40, 6), 'f4',
                                      chunks=(1 << 16, 6)),
    'huge_contiguous': lambda f: replace(f, 'objects', (1 << 40, 6), 'f4'),
    'huge_deflated': lambda f: replace(f, 'objects', (1 << 40, 6), 'f4',
                                       chunks=(1 << 16, 6), compression=1),
    'big_chunk': big_chunk,
    'lzf': lambda f: replace(f, 'class', data=f['class'][:],
                             compression='lzf'),
    'shuffle': lambda f: replace(f, 'class', data=f['class'][:], shuffle=True),
    'int64': lambda f: replace(f, 'class', data=f['class'][:].astype('i8')),
    'uint32': lambda f: replace(f, 'class', data=f['class'][:].astype('u4')),
    'double': lambda f: replace(f, 'box', data=f['box'][:].astype('f8')),
    'compound': compound,
    'variable_ids': lambda f: text_ids(f, None),
    'long_ids': lambda f: text_ids(f, 'S5000'),
    'rank': lambda f: replace(f, 'box', data=f['box'][:].ravel()),
    'scalar': lambda f: replace(f, 'class', data=np.int32(1)),
    'short': lambda f: replace(f, 'class', data=f['class'][1:]),
    'missing': lambda f: f.pop('digest'),
    'group': lambda f: group(f, 'size'),
    'two_rows_a_chunk': lambda f: replace_images(
        f, chunks=(2,) + f['images'].shape[1:]),
    'contiguous_images': replace_images,
    'deflated_images': lambda f: replace_images(
        f, chunks=(1,) + f['images'].shape[1:], compression=1),
    'missing_row': missing_row,
    'no_format': lambda f: attribute(f, 'format', None),
    'format_2': lambda f: attribute(f, 'format', 2),
    'format_text': lambda f: attribute(f, 'format', np.bytes_('1')),
    'fewer_classes': lambda f: attribute(f, 'classes',
                                         np.array([b'cat', b'x'])),
    'other_classes': lambda f: attribute(f, 'classes',
                                         np.array([b'cat', b'y', b'x'])),
    'class_range': lambda f: set_value(f, 'class', 0, 3),
    'class_negative': lambda f: set_value(f, 'class', 0, -1),
    'box_nan': lambda f: set_value(f, 'box', (0, 2), np.nan),
    'box_outside': lambda f: set_value(f, 'box', (0, 2), 1000),
    'box_empty': lambda f: set_value(f, 'box', (0, 2), 0),
    'size_zero': lambda f: set_value(f, 'size', (0, 1), 0),
    'id_path': lambda f: set_value(f, 'id', 0, b'../etc'),
    'id_empty': lambda f: set_value(f, 'id', 0, b''),
    'start_falls': lambda f: set_value(f, 'object_start', 1, 3),
    'start_end': lambda f: set_value(f, 'object_start', -1, 1 << 40),
    'start_negative': lambda f: set_value(f, 'object_start', 0, -1),
    'object_class': lambda f: set_value(f, 'objects', (0, 4), 0.5),
    'object_infinite': lambda f: set_value(f, 'objects', (0, 4), np.inf),
    'object_difficult': lambda f: set_value(f, 'objects', (0, 5), 2),
    'digest': lambda f: set_value(f, 'digest', 0, 1),
}


def other(path):
    """Older file format, big-endian and deflated labels, images stored in
    reverse order."""
    with h5py.File(path, 'r') as f:
        data = {k: f[k][:] for k in f}
        attributes = dict(f.attrs)
    with h5py.File(path, 'w', libver='earliest') as f:
        for name, value in attributes.items():
            f.attrs[name] = value
        for name, value in data.items():
            if name == 'images':
                images = f.create_dataset(name, value.shape, 'u1',
                                          chunks=(1,) + value.shape[1:])
                for i in reversed(range(len(value))):
                    images[i] = value[i]
            elif name == 'id':
                f[name] = value
            else:
                f.create_dataset(name, data=value, compression=4,
                                 dtype=value.dtype.newbyteorder('>'))


def hostile(path):
    for kind, change in HOSTILE.items():
        copy = '%s.%s' % (path, kind)
        shutil.copy(path, copy)
        with h5py.File(copy, 'r+', libver='latest') as f:
            change(f)
    user_block(path, path + '.user_block')


{'check': check, 'other': other, 'hostile': hostile}[sys.argv[1]](sys.argv[2])
