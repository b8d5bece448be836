#!/usr/bin/env python3
"""Writes a translation in the form that LuCI reads: po2lmo.py FROM.po TO.lmo

The file is the translations one after the other, then an index of four big-endian numbers for each (hash of the text, 1,
offset, length), sorted by hash, then the offset of the index. Hash 0 is the rule for plurals. Texts with a context or a
plural, which LuCI's pages of this project do not have, are refused.
"""

import re
import struct
import sys

LINE = re.compile(rb'(?:(msgid|msgstr) )?"(.*)"\s*$')


def unescaped(text):
    """LuCI keeps \\n and its like as they are typed."""
    return re.sub(rb'\\(["\\])', rb'\1', text)


def entries(po):
    """Pairs of text and translation."""
    found = []
    for number, line in enumerate(po.splitlines(), 1):
        if not line.strip() or line.startswith(b'#'):
            continue
        match = LINE.match(line)
        if not match or not (match[1] or found):
            raise ValueError(f'line {number} is not understood')
        if match[1] == b'msgid':
            found.append({b'msgid': b'', b'msgstr': b''})
        part = match[1] or part
        found[-1][part] += unescaped(match[2])
    return [(entry[b'msgid'], entry[b'msgstr']) for entry in found]


def signed(byte):
    return byte - 256 if byte > 127 else byte


def hash_of(text):
    """Paul Hsieh's SuperFastHash, begun with the length."""
    mask = 0xFFFFFFFF
    value = len(text)
    whole = len(text) & ~3
    for low, high in struct.iter_unpack('<HH', text[:whole]):
        value = value + low & mask
        value = (value << 16 ^ high << 11 ^ value) & mask
        value = value + (value >> 11) & mask
    rest = text[whole:]
    if len(rest) == 3:
        value = value + struct.unpack('<H', rest[:2])[0] & mask
        value = (value ^ value << 16) & mask
        value = (value ^ signed(rest[2]) << 18) & mask
        value = value + (value >> 11) & mask
    elif len(rest) == 2:
        value = value + struct.unpack('<H', rest)[0] & mask
        value = (value ^ value << 11) & mask
        value = value + (value >> 17) & mask
    elif len(rest) == 1:
        value = value + signed(rest[0]) & mask
        value = (value ^ value << 10) & mask
        value = value + (value >> 1) & mask
    for left, right in ((3, 5), (4, 17), (25, 6)):
        value = (value ^ value << left) & mask
        value = value + (value >> right) & mask
    return value


def lmo(po):
    texts = []
    for text, translation in entries(po):
        if not text:
            plural = re.search(rb'Plural-Forms: (.*?)\\n', translation)
            if plural:
                texts.append((0, 0, plural[1]))
        elif translation and hash_of(text) != hash_of(translation):
            texts.append((hash_of(text), 1, translation))
    data = b''
    index = []
    for key, kind, text in texts:
        index.append(struct.pack('>IIII', key, kind, len(data), len(text)))
        data += text + bytes(-len(text) % 4)
    return data + b''.join(sorted(index)) + struct.pack('>I', len(data))


def main():
    if len(sys.argv) != 3:
        sys.exit('usage: po2lmo.py FROM.po TO.lmo')
    with open(sys.argv[1], 'rb') as source:
        po = source.read()
    try:
        written = lmo(po)
    except ValueError as reason:
        sys.exit(f'po2lmo.py: {sys.argv[1]}: {reason}')
    with open(sys.argv[2], 'wb') as target:
        target.write(written)


if __name__ == '__main__':
    main()
