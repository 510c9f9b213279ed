# pyright: basic, reportUntypedFunctionDecorator=false, reportCallIssue=false, reportGeneralTypeIssues=false
"""Compiled kernels of the tap: one pass over OTLP protobuf, no string built for what is known. `ingest.wire` drives them.

A kernel accepts only what it is sure of: canonical protobuf of fields it knows, as exporters write it. Anything else makes it return
`UNSURE`, and the protobuf library decides: it refuses the body, or writes it anew in canonical form, which is scanned as `trusted`. So a
kernel never refuses a body, and never has to agree with the library on what is malformed.

Reads are checked against the end of their message before they happen; writes against the capacity of their array. All integers are uint64:
numba would make a float of a signed and an unsigned one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

OK, UNSURE, GROW, MISS = range(4)
"""What a scan came to: done; the library must look; a table is full (`GROW_WHAT`); resources, scopes, metrics or names not met before."""

# --- the state array -------------------------------------------------------------------------------------------------------------
(
    N_SERIES, GUESS, N_KV, N_ARENA, N_SKV, N_CTX, N_OUT, N_MISS, GROW_WHAT, TRUSTED, OLDEST, NEWEST, MAX_ATTRIBUTES, MAX_NAME, MAX_VALUE,
    MAX_BUCKETS, SECRET0, SECRET1, SECRET2, SECRET3, RECEIVED, EXEMPLARS, BUCKET_NS, LOG_SAMPLES, TRACE_MASK, N_TALLY, N_SEEN, N_SAMPLED,
    N_ALIAS, N_BLOCKS, VALUE_SAMPLES, N_VALUES, N_TAKEN, CTX_GUESS, REASON0,
) = range(35)  # fmt: skip
REASONS = (
    "", "skewed", "too_many_attributes", "attribute_name_too_long", "attribute_value_too_long", "too_many_buckets", "bad_name",
)  # fmt: skip
"""Rejection reasons by number; counted from `REASON0` on."""
STATE = REASON0 + len(REASONS)

SERIES_FULL, KV_FULL, ARENA_FULL, SKV_FULL, CTX_FULL, OUT_FULL, ALIAS_FULL = range(1, 8)

# --- kinds of hashes, as in ingest.identity ---------------------------------------------------------------------------------------
KV, RESOURCE, SCOPE, METRIC, NAME, TRACE, TEXT, POINT, VALUE = range(1, 10)
HEAD_RESOURCE, HEAD_SCOPE, HEAD_METRIC, HEAD_NAME = 11, 12, 13, 14
"""Raw bytes of a head as they were sent."""

# --- a series' row: its aggregate of the open bucket and what it needs to go on ----------------------------------------------------
COUNT, BUCKET, FIRST_T, LAST_T, FIRST, LAST, INCREASE, LOW, HIGH, BYTES, EXEMPLAR_COUNT, PREV_T, PREV, CONTEXT, SKV, SHAPE = range(16)
ROW = 16
"""16 words of 8 bytes: two cache lines. SKV is offset << 16 | length; SHAPE is stamp << 32 | prom_series << 1 | delta."""

PT_INDEX, PT_TIME, PT_VALUE, PT_BYTES, PT_FLAGS = range(5)
PT = 5
"""A point between scan and commit. FLAGS: prom_series << 32 | exemplars << 1 | has a value."""

HEAD_KEY, HEAD_IDENTITY, HEAD_ID, HEAD_REASON = range(4)
CTX_KEY, CTX_RESOURCE, CTX_SCOPE, CTX_METRIC = range(4)
MISS_KIND, MISS_KEY, MISS_AT, MISS_LEN, MISS_AT2, MISS_LEN2, MISS_TYPE = range(7)
MISSED = 7
"""A head not met before: kind, hash of its raw bytes, one or two ranges of the body, and for a metric its data field | temporality | monotonic."""

BLOCK_CONTEXT, BLOCK_FIRST = range(2)
BLOCK = 2
"""Points of one metric that follow one another in a body: their context and where they begin in `pts`."""

RES_SEEN, RES_NEXT, RES_BASE, RES_MASK = range(4)
RES = 4
"""A metric's reservoir in the open segment: points met, the next to take, and the stratum it is taken from: where it begins, its width less one."""

VAL_INDEX, VAL_TIME, VAL_VALUE, VAL_WEIGHT, VAL_METRIC, VAL_RANK = range(6)
VAL = 6
"""A sampled point."""

U = np.uint64
Z, ONE, TWO, THREE, FOUR, SEVEN, EIGHT, SIXTEEN = U(0), U(1), U(2), U(3), U(4), U(7), U(8), U(16)
C32, C33, C63 = U(32), U(33), U(63)
MAX32 = U(0xFFFFFFFF)
ASCII = U(0x8080808080808080)
NAN = U(0x7FF8000000000000)
EXPONENT = U(0x7FF0000000000000)


@intrinsic
def _ld64(typingctx, addr):
    def codegen(context, builder, signature, args):
        load = builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))
        load.align = 1
        return load

    return types.uint64(types.uint64), codegen


@intrinsic
def _ld32(typingctx, addr):
    def codegen(context, builder, signature, args):
        load = builder.load(builder.inttoptr(args[0], ir.IntType(32).as_pointer()))
        load.align = 1
        return builder.zext(load, ir.IntType(64))

    return types.uint64(types.uint64), codegen


@intrinsic
def _ld8(typingctx, addr):
    def codegen(context, builder, signature, args):
        return builder.zext(builder.load(builder.inttoptr(args[0], ir.IntType(8).as_pointer())), ir.IntType(64))

    return types.uint64(types.uint64), codegen


@intrinsic
def _f64(typingctx, bits):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.uint64), codegen


@intrinsic
def _bits(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.uint64(types.float64), codegen


@intrinsic
def _signed(typingctx, bits):
    def codegen(context, builder, signature, args):
        return builder.sitofp(args[0], ir.DoubleType())

    return types.float64(types.uint64), codegen


@intrinsic
def _mum(typingctx, a, b):
    def codegen(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        low = builder.trunc(product, ir.IntType(64))
        return builder.xor(low, builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64)))

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def _prefetch(typingctx, addr):
    def codegen(context, builder, signature, args):
        i32 = ir.IntType(32)
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
        call = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        builder.call(call, [pointer, i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.none(types.uint64), codegen


AHEAD = 4096
"""Bytes: attributes are read as fast as memory gives them, and the hardware's own prefetch stops at each 4 KiB page."""


_inline = njit(forceinline=True, nogil=True, cache=True, _nrt=False)
_kernel = njit(nogil=True, cache=True, _nrt=False)
"""No reference counts: a kernel keeps no array, and counting fourteen of them at every call costs ten times what the call does."""


@_inline
def _hash(p, n, kind, s0, s1, s2):
    h = s0 + kind * s1
    left = n
    if n >= SIXTEEN:
        while left > SIXTEEN:
            h = _mum(_ld64(p) ^ s1, _ld64(p + EIGHT) ^ h)
            p += SIXTEEN
            left -= SIXTEEN
        e = p + left
        a = _ld64(e - SIXTEEN)
        b = _ld64(e - EIGHT)
    elif n >= EIGHT:
        a = _ld64(p)
        b = _ld64(p + n - EIGHT)
    elif n >= FOUR:
        a = _ld32(p)
        b = _ld32(p + n - FOUR)
    else:
        a = Z
        b = Z
        i = n
        while i > Z:
            i -= ONE
            a = (a << EIGHT) | _ld8(p + i)
    r = _mum(s1 ^ n, _mum(a ^ s2, b ^ h))
    return r if r != Z else ONE


@_inline
def _region(p, n, context, s0, s1, s2, s3):
    """64 bits of the attributes of a point as they were sent, under their context; never 0. Four lanes: nothing outside this process sees it."""
    a = s0
    b = s1
    c = s2
    d = s3
    e = p + n
    while e - p >= U(64):
        a = _mum(_ld64(p) ^ s1, _ld64(p + EIGHT) ^ a)
        b = _mum(_ld64(p + SIXTEEN) ^ s2, _ld64(p + U(24)) ^ b)
        c = _mum(_ld64(p + U(32)) ^ s3, _ld64(p + U(40)) ^ c)
        d = _mum(_ld64(p + U(48)) ^ s0, _ld64(p + U(56)) ^ d)
        p += U(64)
    if e - p >= U(32):
        a = _mum(_ld64(p) ^ s1, _ld64(p + EIGHT) ^ a)
        b = _mum(_ld64(p + SIXTEEN) ^ s2, _ld64(p + U(24)) ^ b)
        p += U(32)
    if n >= U(32):
        c = _mum(_ld64(e - U(32)) ^ s3, _ld64(e - U(24)) ^ c)
        d = _mum(_ld64(e - SIXTEEN) ^ s0, _ld64(e - EIGHT) ^ d)
    else:
        c = _hash(p, n, U(POINT), s0, s1, s2)
    h = _mum(_mum(a ^ c, b ^ n ^ s2) ^ context, d ^ s0)
    return h if h != Z else ONE


@_inline
def _varint(p, e):
    """(value, next p); next p is 0 when it does not end, is over 64 bits, or is not the shortest form."""
    if p >= e:
        return Z, Z
    r = _ld8(p)
    p += ONE
    if r < U(128):
        return r, p
    r &= U(127)
    s = SEVEN
    while p < e and s <= C63:
        b = _ld8(p)
        p += ONE
        if s == C63 and b > ONE:
            return Z, Z
        r |= (b & U(127)) << s
        if b < U(128):
            if b == Z:
                return Z, Z
            return r, p
        s += SEVEN
    return Z, Z


@_inline
def _next(p, e):
    """(tag, next p, data, length or value). tag 0: the end, or, with next p 0, not sure."""
    if p >= e:
        return Z, p, Z, Z
    t, p = _varint(p, e)
    if p == Z or t < EIGHT or t > MAX32:
        return Z, Z, Z, Z
    w = t & SEVEN
    if w == TWO:
        n, p = _varint(p, e)
        if p == Z or n > e - p:
            return Z, Z, Z, Z
        return t, p + n, p, n
    if w == ONE:
        if e - p < EIGHT:
            return Z, Z, Z, Z
        return t, p + EIGHT, p, EIGHT
    if w == Z:
        d = p
        v, p = _varint(p, e)
        if p == Z:
            return Z, Z, Z, Z
        return t, p, d, v
    if w == U(5):
        if e - p < FOUR:
            return Z, Z, Z, Z
        return t, p + FOUR, p, FOUR
    return Z, Z, Z, Z


@_kernel
def _utf8(p, n):
    """Whether n bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF)."""
    e = p + n
    while p < e:
        while e - p >= EIGHT and _ld64(p) & ASCII == Z:
            p += EIGHT
        if p >= e:
            break
        b = _ld8(p)
        if b < U(0x80):
            p += ONE
            continue
        if b < U(0xC2) or b > U(0xF4):
            return False
        more = ONE if b < U(0xE0) else (TWO if b < U(0xF0) else THREE)
        if e - p <= more:
            return False
        c = _ld8(p + ONE)
        low = U(0x80)
        high = U(0xBF)
        if b == U(0xE0):
            low = U(0xA0)
        elif b == U(0xED):
            high = U(0x9F)
        elif b == U(0xF0):
            low = U(0x90)
        elif b == U(0xF4):
            high = U(0x8F)
        if c < low or c > high:
            return False
        i = TWO
        while i <= more:
            c = _ld8(p + i)
            if c < U(0x80) or c > U(0xBF):
                return False
            i += ONE
        p += more + ONE
    return True


MAX_DEPTH = 8
"""Deeper values go to the library, which knows up to 50 levels."""


@_kernel
def _value_ok(p, e, depth):
    """Whether p..e is a canonical AnyValue."""
    if p == e:
        return True
    t, q, d, n = _next(p, e)
    if t == Z or q != e:
        return False
    if t == U(10):
        return _utf8(d, n)
    if t == U(16):
        return n <= ONE
    if t == U(24) or t == U(33) or t == U(58):
        return True
    if depth >= U(8) or (t != U(42) and t != U(50)):
        return False
    q = d
    end = d + n
    while True:
        t2, q, d2, n2 = _next(q, end)
        if t2 == Z:
            return q != Z
        if t2 != U(10):
            return False
        if t == U(42):
            if not _value_ok(d2, d2 + n2, depth + ONE):
                return False
        else:
            t3, q3, d3, n3 = _next(d2, d2 + n2)
            if t3 != U(10) or n3 == Z or not _utf8(d3, n3):
                return False
            t3, q4, d3, n3 = _next(q3, d2 + n2)
            if t3 != U(18) or q4 != d2 + n2 or not _value_ok(d3, d3 + n3, depth + ONE):
                return False


@_kernel
def _kv_shape(p, n):
    """(whether it is one, key's bytes, value's bytes) of a key-value in any order of its fields."""
    e = p + n
    k = Z
    v = Z
    while True:
        t, p, d, length = _next(p, e)
        if t == Z:
            return p != Z, k, v
        if t == U(10):
            k = length
        elif t == U(18):
            v = length


@_kernel
def _kv_ok(p, n, depth):
    """Whether it is a KeyValue with a key and a canonical value, in either order: the Collector writes the value first."""
    e = p + n
    t, q, d, k = _next(p, e)
    if t == U(10):
        if k == Z or not _utf8(d, k):
            return False
        t, q, d, v = _next(q, e)
        return t == U(18) and q == e and _value_ok(d, d + v, depth)
    if t != U(18) or not _value_ok(d, d + k, depth):
        return False
    t, q, d, k = _next(q, e)
    return t == U(10) and q == e and k != Z and _utf8(d, k)


@_kernel
def _kv_hash(p, n, s0, s1, s2, s3):
    """Of a key-value, as `Identity64.kv`."""
    e = p + n
    key = p
    key_n = Z
    value = p
    value_n = Z
    while True:
        t, p, d, length = _next(p, e)
        if t == Z:
            break
        if t == U(10):
            key = d
            key_n = length
        elif t == U(18):
            value = d
            value_n = length
    h = _mum(_hash(key, key_n, U(KV), s0, s1, s2) ^ s2, _hash(value, value_n, U(VALUE), s0, s1, s2) ^ s3)
    return h if h != Z else ONE


@_kernel
def _attribute(p, n, st):
    """0, or the reason's number why this attribute is over a limit; 255 when not sure of it."""
    if st[TRUSTED] == Z and not _kv_ok(p, n, Z):
        return U(255)
    good, k, v = _kv_shape(p, n)
    if not good:
        return U(255)
    if k > st[MAX_NAME]:
        return U(3)
    if v > st[MAX_VALUE]:
        return U(4)
    return Z


# --- messages ----------------------------------------------------------------------------------------------------------------------

(
    UNKNOWN, FIXED64, FIXED32, OPTIONAL, INTEGER, UINT32, ENUM, TEXT, BLOB, VALUE_OF, PACKED64, PACKED, ATTRIBUTE,
    EXEMPLAR_OF, QUANTILE, EVENT, LINK, STATUS, BUCKETS,
) = range(19)  # fmt: skip
"""What a field holds. From EXEMPLAR_OF on: a message, described by the row of that number in ACTIONS. OPTIONAL and INTEGER are fixed64 with presence."""
NUMBER_POINT, HISTOGRAM_POINT, EXPONENTIAL_POINT, SUMMARY_POINT, RECORD_FIELDS, SPAN_FIELDS = range(19, 25)
FLAGS_SLOT = 15
REPEATED = 0
"""A field of this slot may come again; any other only once."""


def _actions():
    """[message, tag] → slot << 8 | what it holds, for all that the kernels know of OTLP 1.10; both fields of a oneof share a slot."""
    table = np.zeros((25, 256), np.uint16)

    def message(row, fields):
        for tag, action, slot in fields:
            table[row, tag] = slot << 8 | action

    begin, time, attributes = (17, FIXED64, 2), (25, FIXED64, 3), 7
    message(EXEMPLAR_OF, [
        (58, ATTRIBUTE, REPEATED), (17, FIXED64, 2), (25, OPTIONAL, 3), (49, INTEGER, 3), (34, BLOB, 4), (42, BLOB, 5),
    ])  # fmt: skip
    message(QUANTILE, [(9, FIXED64, 1), (17, FIXED64, 2)])
    message(EVENT, [(9, FIXED64, 1), (18, TEXT, 2), (26, ATTRIBUTE, REPEATED), (32, UINT32, 4)])
    message(LINK, [
        (10, BLOB, 1), (18, BLOB, 2), (26, TEXT, 3), (34, ATTRIBUTE, REPEATED), (40, UINT32, 5), (53, FIXED32, 6),
    ])  # fmt: skip
    message(STATUS, [(18, TEXT, 2), (24, ENUM, 3)])
    message(BUCKETS, [(8, UINT32, 1), (18, PACKED, 2)])
    message(NUMBER_POINT, [
        (58, ATTRIBUTE, attributes), begin, time, (33, OPTIONAL, 4), (49, INTEGER, 4), (42, EXEMPLAR_OF, REPEATED), (64, UINT32, FLAGS_SLOT),
    ])  # fmt: skip
    message(HISTOGRAM_POINT, [
        (74, ATTRIBUTE, 9), begin, time, (33, FIXED64, 4), (41, OPTIONAL, 5), (50, PACKED64, 6), (58, PACKED64, 7), (66, EXEMPLAR_OF, REPEATED),
        (80, UINT32, FLAGS_SLOT), (89, OPTIONAL, 11), (97, OPTIONAL, 12),
    ])  # fmt: skip
    message(EXPONENTIAL_POINT, [
        (10, ATTRIBUTE, 1), begin, time, (33, FIXED64, 4), (41, OPTIONAL, 5), (48, UINT32, 6), (57, FIXED64, 7), (66, BUCKETS, 8), (74, BUCKETS, 9),
        (80, UINT32, FLAGS_SLOT), (90, EXEMPLAR_OF, REPEATED), (97, OPTIONAL, 12), (105, OPTIONAL, 13), (113, FIXED64, 14),
    ])  # fmt: skip
    message(SUMMARY_POINT, [
        (58, ATTRIBUTE, attributes), begin, time, (33, FIXED64, 4), (41, FIXED64, 5), (50, QUANTILE, REPEATED), (64, UINT32, FLAGS_SLOT),
    ])  # fmt: skip
    message(RECORD_FIELDS, [
        (9, FIXED64, 1), (16, ENUM, 2), (26, TEXT, 3), (42, VALUE_OF, 5), (50, ATTRIBUTE, REPEATED), (56, UINT32, 7), (69, FIXED32, 8),
        (74, BLOB, 9), (82, BLOB, 10), (89, FIXED64, 11), (98, TEXT, 12),
    ])  # fmt: skip
    message(SPAN_FIELDS, [
        (10, BLOB, 1), (18, BLOB, 2), (26, TEXT, 3), (34, BLOB, 4), (42, TEXT, 5), (48, ENUM, 6), (57, FIXED64, 7), (65, FIXED64, 8),
        (74, ATTRIBUTE, REPEATED), (80, UINT32, 10), (90, EVENT, REPEATED), (96, UINT32, 12), (106, LINK, REPEATED), (112, UINT32, 14),
        (122, STATUS, 15), (133, FIXED32, 16),
    ])  # fmt: skip
    return table


ACTIONS = _actions()
SLOTS = 17
"""Of a message: two words each, where a field's data lies and its length or value; of a fixed field, its tag in place of the length."""


@_inline
def _action(message, tag):
    """(what the field holds, its slot)."""
    if tag > U(255):
        return U(UNKNOWN), Z
    known = U(ACTIONS[message, tag])
    return known & U(255), known >> EIGHT


@_kernel
def _packed_ok(p, n):
    """Whether n bytes are shortest-form varints."""
    e = p + n
    while p < e:
        v, p = _varint(p, e)
        if p == Z:
            return False
    return True


@_inline
def _field(action, d, n, trusted):
    """(whether its data is canonical, whether it says its default: the canonical form leaves it out)."""
    if action == U(OPTIONAL) or action == U(INTEGER):
        return True, False
    if action == U(FIXED64):
        return True, _ld64(d) == Z
    if action == U(FIXED32):
        return True, _ld32(d) == Z
    if action == U(UINT32):
        return n <= MAX32, n == Z
    if action == U(ENUM):
        return trusted or n <= U(0x7FFFFFFF), n == Z
    if action == U(TEXT):
        return trusted or _utf8(d, n), n == Z
    if action == U(BLOB):
        return True, n == Z
    if action == U(VALUE_OF):
        return trusted or _value_ok(d, d + n, Z), False
    if action == U(PACKED64):
        return n & SEVEN == Z, n == Z
    if action == U(PACKED):
        return trusted or _packed_ok(d, n), n == Z
    return False, False


@_kernel
def _nested_ok(p, n, message):
    """Whether n bytes are that message in canonical form."""
    e = p + n
    seen = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            return p != Z
        action, slot = _action(message, t)
        if action == U(ATTRIBUTE):
            if not _kv_ok(d, n, Z):
                return False
            continue
        good, default = _field(action, d, n, False)
        bit = ONE << slot
        if not good or default or seen & bit:
            return False
        seen |= bit


@_inline
def _entered(action, slot, t, d, n, seen, trusted, w):
    """(whether a field of a point, record or span is as it should be, whether it says its default); noted in `w`, two words a slot."""
    if action >= U(EXEMPLAR_OF):
        good = trusted or _nested_ok(d, n, action)
        default = False
    else:
        good, default = _field(action, d, n, trusted)
    if slot != U(REPEATED):
        good = good and seen & (ONE << slot) == Z
        w[TWO * slot] = d
        w[TWO * slot + ONE] = t if t & ONE else n
    return good, default


@_kernel
def _fields(p, e, message, st, w):
    """(sure, slots seen, bytes of defaults, attributes, the first one's reason) of a record or span; what each slot holds goes to `w`."""
    trusted = st[TRUSTED] != Z
    seen = Z
    spare = Z
    count = Z
    wrong = Z
    while True:
        here = p
        t, p, d, n = _next(p, e)
        if t == Z:
            return p != Z, seen, spare, count, wrong
        action, slot = _action(message, t)
        if action == U(ATTRIBUTE):
            count += ONE
            why = _attribute(d, n, st)
            if why == U(255):
                return False, seen, spare, count, wrong
            if wrong == Z:
                wrong = why
            continue
        good, default = _entered(action, slot, t, d, n, seen, trusted, w)
        if not good:
            return False, seen, spare, count, wrong
        if default:
            spare += p - here
        if slot != U(REPEATED):
            seen |= ONE << slot


@_inline
def _seen(seen, slot):
    return seen & (ONE << U(slot)) != Z


@_inline
def _fixed_at(seen, w, slot):
    """A fixed64 field, 0 when it was not there."""
    return _ld64(w[2 * slot]) if _seen(seen, slot) else Z


@_inline
def _length_at(seen, w, slot):
    """Length or value of a field, 0 when it was not there."""
    return w[2 * slot + 1] if _seen(seen, slot) else Z


@_inline
def _find_head(heads, key):
    """Its row in the table, or the row where it would go."""
    mask = U(heads.shape[0] - 1)
    i = key & mask
    while heads[i, HEAD_KEY] != key and heads[i, HEAD_KEY] != Z:
        i = (i + ONE) & mask
    return i


@_kernel
def put_head(heads, key, identity, ident, reason):
    i = _find_head(heads, key)
    heads[i, HEAD_KEY] = key
    heads[i, HEAD_IDENTITY] = identity
    heads[i, HEAD_ID] = ident
    heads[i, HEAD_REASON] = reason


@_kernel
def rehash_heads(old, new):
    for j in range(old.shape[0]):
        if old[j, HEAD_KEY] != Z:
            i = _find_head(new, old[j, HEAD_KEY])
            for c in range(4):
                new[i, c] = old[j, c]


@_kernel
def _miss(st, misses, kind, key, at, n, at2, n2, what):
    m = st[N_MISS]
    if m >= U(misses.shape[0]):
        return False
    misses[m, MISS_KIND] = kind
    misses[m, MISS_KEY] = key
    misses[m, MISS_AT] = at
    misses[m, MISS_LEN] = n
    misses[m, MISS_AT2] = at2
    misses[m, MISS_LEN2] = n2
    misses[m, MISS_TYPE] = what
    st[N_MISS] = m + ONE
    return True


@_kernel
def intern_kv(p, n, st, kv_slots, kvs, arena):
    """(index of a key-value, 0), or (0, what is full). Its bytes are copied when it is new."""
    key = _kv_hash(p, n, st[SECRET0], st[SECRET1], st[SECRET2], st[SECRET3])
    mask = U(kv_slots.size - 1)
    i = key & mask
    while True:
        slot = kv_slots[i]
        if slot == Z:
            break
        if kvs[slot - ONE, 0] == key:
            return slot - ONE, Z
        i = (i + ONE) & mask
    k = st[N_KV]
    if k >= U(kvs.shape[0]) or (k + ONE) * TWO > U(kv_slots.size):
        return Z, U(KV_FULL)
    a = st[N_ARENA]
    if a + n > U(arena.size):
        return Z, U(ARENA_FULL)
    j = Z
    while j < n:
        arena[a + j] = np.uint8(_ld8(p + j))
        j += ONE
    kvs[k, 0] = key
    kvs[k, 1] = a
    kvs[k, 2] = n
    st[N_ARENA] = a + n
    st[N_KV] = k + ONE
    kv_slots[i] = k + ONE
    return k, Z


@_kernel
def intern_kv_at(body, at, n, st, kv_slots, kvs, arena):
    return intern_kv(U(body.ctypes.data) + at, n, st, kv_slots, kvs, arena)


@_kernel
def rehash_kv(kvs, n, slots):
    mask = U(slots.size - 1)
    for k in range(n):
        i = kvs[k, 0] & mask
        while slots[i] != Z:
            i = (i + ONE) & mask
        slots[i] = U(k) + ONE


@_kernel
def rehash_ctx(ctxs, n, slots):
    mask = U(slots.size - 1)
    for k in range(n):
        i = ctxs[k, CTX_KEY] & mask
        while slots[i] != Z:
            i = (i + ONE) & mask
        slots[i] = U(k) + ONE


@_kernel
def rehash_series(keys, n, slots):
    mask = U(slots.size - 1)
    for k in range(n):
        key = keys[k]
        i = key & mask
        while slots[i] != Z:
            i = (i + ONE) & mask
        slots[i] = (key >> C32 << C32) | (U(k) + ONE)


@_kernel
def _context(key, r, s, m, st, ctx_slots, ctxs):
    """(index of the context, 0), or (0, what is full)."""
    mask = U(ctx_slots.size - 1)
    i = key & mask
    while True:
        slot = ctx_slots[i]
        if slot == Z:
            break
        if ctxs[slot - ONE, CTX_KEY] == key:
            return slot - ONE, Z
        i = (i + ONE) & mask
    c = st[N_CTX]
    if c >= U(ctxs.shape[0]) or (c + ONE) * TWO > U(ctx_slots.size):
        return Z, U(CTX_FULL)
    ctxs[c, CTX_KEY] = key
    ctxs[c, CTX_RESOURCE] = r
    ctxs[c, CTX_SCOPE] = s
    ctxs[c, CTX_METRIC] = m
    ctx_slots[i] = c + ONE
    st[N_CTX] = c + ONE
    return c, Z


@_inline
def _lookup(key, keys, slots):
    """(index of the series + 1 or 0, its slot or the free one)."""
    mask = U(slots.size - 1)
    high = key >> C32
    i = key & mask
    while True:
        slot = slots[i]
        if slot == Z:
            return Z, i
        if slot >> C32 == high and keys[(slot & MAX32) - ONE] == key:
            return slot & MAX32, i
        i = (i + ONE) & mask


@_inline
def _find_alias(key, aliases):
    """The row of the alias, or where it would go."""
    mask = U(aliases.shape[0] - 1)
    i = key & mask
    while aliases[i, 0] != key and aliases[i, 0] != Z:
        i = (i + ONE) & mask
    return i


@_kernel
def rehash_aliases(order, n, aliases):
    for j in range(n):
        i = _find_alias(order[j, 0], aliases)
        aliases[i, 0] = order[j, 0]
        aliases[i, 1] = (U(j) << C32) | order[j, 1]


@_kernel
def _judged(p, e, atag, st):
    """(attributes of a point, 0 or the reason's number why one is over a limit, 255 when not sure of one)."""
    count = Z
    wrong = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            break
        if t != atag:
            continue
        count += ONE
        why = _attribute(d, n, st)
        if why == U(255):
            return count, why
        if wrong == Z:
            wrong = why
    return count, TWO if count > st[MAX_ATTRIBUTES] else wrong


@_kernel
def _interned(p, e, atag, begin, tb, st):
    """Attributes of a point to `skv` from `begin` on, by ascending id; 0, or what is full."""
    skv = tb.skv
    at = begin
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            return Z
        if t != atag:
            continue
        index, full = intern_kv(d, n, st, tb.kv_slots, tb.kvs, tb.arena)
        if full != Z:
            return full
        j = at
        while j > begin and tb.kvs[U(skv[j - ONE]), 0] > tb.kvs[index, 0]:
            skv[j] = skv[j - ONE]
            j -= ONE
        skv[j] = np.uint32(index)
        at += ONE


@_kernel
def _new_series(key, at, p, e, m, tb, st):
    """(index + 1, 0); (0, a reason's number) when it is over a limit; (0, 255) when not sure; (0, 256 + what) when full."""
    count, wrong = _judged(p, e, m.atag, st)
    if wrong != Z:
        return Z, wrong
    k = st[N_SERIES]
    if k >= U(tb.keys.size) or (k + ONE) * TWO > U(tb.slots.size):
        return Z, U(256 + SERIES_FULL)
    begin = st[N_SKV]
    if begin + count > U(tb.skv.size):
        return Z, U(256 + SKV_FULL)
    full = _interned(p, e, m.atag, begin, tb, st)
    if full != Z:
        return Z, U(256) + full
    st[N_SKV] = begin + count
    st[N_SERIES] = k + ONE
    tb.keys[k] = key
    for c in range(ROW):
        tb.rows[k, c] = Z
    tb.rows[k, CONTEXT] = m.ctx
    tb.rows[k, SKV] = (begin << SIXTEEN) | count
    tb.rows[k, SHAPE] = m.delta
    tb.slots[at] = (key >> C32 << C32) | (k + ONE)
    return k + ONE, Z


@_inline
def _guessed(body, be):
    """(temporality, monotonic) as the first or the last bytes of a metric's data say; checked against its fields when they are met."""
    temp = Z
    mono = Z
    if be - body < TWO:
        return temp, mono
    first = _ld8(body)
    if first == U(24) or first == SIXTEEN:
        if first == U(24):
            mono = _ld8(body + ONE)
            body += TWO
        if be - body >= TWO and _ld8(body) == SIXTEEN:
            temp = _ld8(body + ONE)
        return temp, mono
    if _ld8(be - TWO) == U(24):
        mono = _ld8(be - ONE)
        be -= TWO
    if be - body >= TWO and _ld8(be - TWO) == SIXTEEN:
        temp = _ld8(be - ONE)
    return temp, mono


@_inline
def _layout(dp, dn):
    """(where its time lies, its value's tag, its attributes) of a number's point in one of the six usual orders; time 0 when in another.

    Fields ascend (the protobuf library), descend, or are value, time, start, attributes (the Collector, which writes its structs from behind),
    with a start time or without. That the attributes are attributes and nothing else is known only once their bytes were met before.
    """
    de = dp + dn
    if dn >= U(27):
        if _ld8(dp) == U(17) and _ld8(dp + U(9)) == U(25) and _ld64(dp + ONE) != Z:
            return dp + U(10), dp + U(18), dp + U(27), dn - U(27)
        if _ld8(dp + U(9)) == U(25) and _ld8(dp + U(18)) == U(17) and _ld64(dp + U(19)) != Z:
            return dp + U(10), dp, dp + U(27), dn - U(27)
        if _ld8(de - U(9)) == U(17) and _ld8(de - U(18)) == U(25) and _ld64(de - EIGHT) != Z:
            return de - U(17), de - U(27), dp, dn - U(27)
    if dn >= U(18):
        if _ld8(dp) == U(25):
            return dp + ONE, dp + U(9), dp + U(18), dn - U(18)
        if _ld8(dp + U(9)) == U(25) and (_ld8(dp) == U(33) or _ld8(dp) == U(49)):
            return dp + U(10), dp, dp + U(18), dn - U(18)
        if _ld8(de - U(9)) == U(25):
            return de - EIGHT, de - U(18), dp, dn - U(18)
    return Z, Z, Z, Z


@_kernel
def _temporality(p, e):
    """(temporality, monotonic) by the fields; a temporality that this version does not know is as good as none."""
    temp = Z
    mono = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            return temp, mono
        if t == U(16) and n <= TWO:
            temp = n
        elif t == U(24):
            mono = n


class Tables(NamedTuple):
    """What a scan of metrics looks up and adds to."""

    heads: Any
    ctx_slots: Any
    ctxs: Any
    slots: Any
    keys: Any
    rows: Any
    kv_slots: Any
    kvs: Any
    arena: Any
    skv: Any
    aliases: Any
    order: Any
    pts: Any
    misses: Any
    blocks: Any


class Data(NamedTuple):
    """A metric's data field: its number, its bytes with tag and without, and where what follows it begins."""

    field: Any
    at: Any
    begin: Any
    end: Any
    after: Any


class MetricOf(NamedTuple):
    """What all points of a metric share. `row` is the row of ACTIONS; `skip`: a head of it is not known yet."""

    field: Any
    row: Any
    atag: Any
    temporality: Any
    monotonic: Any
    ident: Any
    ctx: Any
    delta: Any
    reason: Any
    skip: Any


class Cursor(NamedTuple):
    """Where a scan is: points written, and the alias to expect next."""

    out: Any
    guess: Any


# --- resources and scopes --------------------------------------------------------------------------------------------------------


@_kernel
def _group(p, e, trusted):
    """(sure, where the head is, its length) of ResourceMetrics, ScopeLogs and the like: a head, members, a schema URL. The head may come last."""
    at = p
    size = Z
    seen = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            return p != Z, at, size
        if t == U(18):
            continue
        bit = TWO if t == U(26) else ONE
        if seen & bit:
            return False, at, size
        seen |= bit
        if t == U(10):
            at = d
            size = n
        elif t != U(26) or not (trusted or _utf8(d, n)):
            return False, at, size


@_inline
def _head(kind, at, n, base, st, heads, misses):
    """(its row, whether it is not known yet, whether there is no room to say so)."""
    key = _hash(at, n, kind, st[SECRET0], st[SECRET1], st[SECRET2])
    row = _find_head(heads, key)
    if heads[row, HEAD_KEY] != Z:
        return row, False, False
    return row, True, not _miss(st, misses, kind, key, at - base, n, Z, Z, Z)


@_inline
def _share(rows, first, last, column, size, items):
    """Spreads the bytes of a head over the items that it describes."""
    if items > Z:
        share = float(size) / float(items)
        for i in range(first, last):
            rows[i, column] = _bits(_f64(rows[i, column]) + share)


@_inline
def _cleared(st):
    st[N_MISS] = Z
    st[N_OUT] = Z
    for i in range(len(REASONS)):
        st[REASON0 + i] = Z


# --- metrics -----------------------------------------------------------------------------------------------------------------------


@_inline
def _data(p, e):
    """(whether the metric can be read, its `Data`; field 0 when it has none)."""
    field = Z
    at = p
    begin = p
    end = p
    after = e
    while True:
        here = p
        t, p, d, n = _next(p, e)
        if t == Z:
            return p != Z, Data(field, at, begin, end, after)
        f = t >> THREE
        if (f == U(5) or f == SEVEN or (f >= U(9) and f <= U(11))) and t & SEVEN == TWO:
            if field != Z:
                return False, Data(field, at, begin, end, after)
            field = f
            at = here
            begin = d
            end = d + n
            after = p


@_inline
def _shape(data, trusted):
    """(whether it is one that exists, temporality, monotonic)."""
    temp = Z
    mono = Z
    if data.field == SEVEN or data.field == U(9) or data.field == U(10):
        if trusted:
            temp, mono = _temporality(data.begin, data.end)
        else:
            temp, mono = _guessed(data.begin, data.end)
    return (data.field == SEVEN or mono == Z) and temp <= TWO and mono <= ONE, temp, mono


@_inline
def _metric_head(mp, me, data, what, base, st, tb):
    """As `_head`, of the bytes before and after a metric's data and of what its points say of it."""
    s0 = st[SECRET0]
    s1 = st[SECRET1]
    s2 = st[SECRET2]
    before = data.at - mp
    left = me - data.after
    key = _mum(_hash(mp, before, U(HEAD_METRIC), s0, s1, s2) ^ st[SECRET3], _hash(data.after, left, U(HEAD_METRIC), s0, s1, s2) ^ what)
    if key == Z:
        key = ONE
    row = _find_head(tb.heads, key)
    if tb.heads[row, HEAD_KEY] != Z:
        return row, False, False
    return row, True, not _miss(st, tb.misses, U(HEAD_METRIC), key, mp - base, before, data.after - base, left, what)


@_inline
def _known_metric(data, temp, mono, rh, sh, mh, st, tb):
    """(what its points share, 0 or what is full)."""
    heads = tb.heads
    reason = heads[rh, HEAD_REASON]
    if reason == Z:
        reason = heads[mh, HEAD_REASON]
    ident = _mum(
        _mum(heads[rh, HEAD_IDENTITY] ^ st[SECRET0], heads[sh, HEAD_IDENTITY] ^ st[SECRET1]) ^ st[SECRET2],
        heads[mh, HEAD_IDENTITY] ^ st[SECRET3],
    )
    ctx = st[CTX_GUESS]
    full = Z
    if ctx >= st[N_CTX] or tb.ctxs[ctx, CTX_KEY] != ident:
        ctx, full = _context(ident, heads[rh, HEAD_ID] & MAX32, heads[sh, HEAD_ID], heads[mh, HEAD_ID], st, tb.ctx_slots, tb.ctxs)
    st[CTX_GUESS] = ctx + ONE  # exporters keep their order: the next metric's context is nearly always the next one
    atag = U(58)
    row = U(NUMBER_POINT)
    if data.field == U(9):
        atag = U(74)
        row = U(HISTOGRAM_POINT)
    elif data.field == U(10):
        atag = U(10)
        row = U(EXPONENTIAL_POINT)
    elif data.field == U(11):
        row = U(SUMMARY_POINT)
    delta = ONE if temp == ONE else Z
    return MetricOf(data.field, row, atag, temp, mono, ident, ctx, delta, reason, False), full


@_inline
def _unknown_metric(data, temp, mono):
    return MetricOf(data.field, Z, Z, temp, mono, Z, Z, Z, Z, True)


@_inline
def _alias(region, guess, st, tb):
    """(whether attributes of that hash were met before, their alias, their series)."""
    if guess < st[N_ALIAS] and tb.order[guess, 0] == region:
        return True, guess, tb.order[guess, 1]
    at = _find_alias(region, tb.aliases)
    if tb.aliases[at, 0] == region:
        return True, tb.aliases[at, 1] >> C32, tb.aliases[at, 1] & MAX32
    return False, Z, Z


@_inline
def _add_alias(region, index, st, tb):
    """(the new alias, whether there was no room for it)."""
    alias = st[N_ALIAS]
    if alias >= U(tb.order.shape[0]) or (alias + ONE) * TWO > U(tb.aliases.shape[0]):
        return alias, True
    tb.order[alias, 0] = region
    tb.order[alias, 1] = index
    at = _find_alias(region, tb.aliases)
    tb.aliases[at, 0] = region
    tb.aliases[at, 1] = (alias << C32) | index
    st[N_ALIAS] = alias + ONE
    return alias, False


class Point(NamedTuple):
    """A point as read. `attributes`..`end`: where they lie, when they lie `together`. `limit`: buckets or quantiles. `has`: 1 with a value."""

    time: Any
    value: Any
    has: Any
    size: Any
    exemplars: Any
    prom: Any
    limit: Any
    attributes: Any
    end: Any
    together: Any


@_inline
def _number(seen, w):
    """(value, 1 when there is one that is finite) of a number's point."""
    if not _seen(seen, 4):
        return 0.0, Z
    bits = _ld64(w[8])
    if w[9] == U(49):
        return _signed(bits), ONE
    return _f64(bits), Z if bits & EXPONENT == EXPONENT else ONE


@_inline
def _bucket_count(seen, w, slot):
    """Counts in the Buckets of an exponential histogram."""
    count = Z
    if not _seen(seen, slot):
        return count
    p = w[2 * slot]
    e = p + w[2 * slot + 1]
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            return count
        if t == U(18):
            for i in range(n):
                if _ld8(d + U(i)) < U(128):
                    count += ONE


@_inline
def _extent(row, seen, w, quantiles):
    """(series that Prometheus makes of it, its buckets or quantiles)."""
    if row == U(HISTOGRAM_POINT):
        counts = _length_at(seen, w, 6) >> THREE
        bounds = _length_at(seen, w, 7) >> THREE
        return THREE + bounds, max(counts, bounds)
    if row == U(EXPONENTIAL_POINT):
        return ONE, max(_bucket_count(seen, w, 8), _bucket_count(seen, w, 9))
    if row == U(SUMMARY_POINT):
        return TWO + quantiles, quantiles
    return ONE, Z


@_inline
def _described(m, n, seen, spare, exemplars, quantiles, begin, stop, together, w):
    """The `Point` that the fields in `w` make."""
    value = 0.0
    has = ONE
    if m.row == U(NUMBER_POINT):
        value, has = _number(seen, w)
    else:
        value = float(_fixed_at(seen, w, 4))
    if _length_at(seen, w, FLAGS_SLOT) & ONE:
        has = Z
    prom, limit = _extent(m.row, seen, w, quantiles)
    if stop == Z:
        stop = begin
    return Point(_fixed_at(seen, w, 3), value, has, n - spare, exemplars, prom, limit, begin, stop, together)


@_inline
def _run(p, e, tag):
    """The end of the attributes that follow one another from p on; only short ones are passed, the rest is read as usual."""
    while e - p > TWO and _ld8(p) == tag:
        n = _ld8(p + ONE)
        if n >= U(128) or n > e - p - TWO:
            break
        p += n + TWO
    return p


@_inline
def _read_point(p, e, m, trusted, w):
    """(sure, the `Point`)."""
    n_all = e - p
    seen = Z
    spare = Z
    exemplars = Z
    quantiles = Z
    begin = e
    stop = Z
    together = True
    while True:
        here = p
        t, p, d, n = _next(p, e)
        if t == m.atag:
            if stop == Z:
                begin = here
            elif stop != here:
                together = False
            p = _run(p, e, m.atag)
            stop = p
            continue
        if t == Z:
            return p != Z, _described(m, n_all, seen, spare, exemplars, quantiles, begin, stop, together, w)
        action, slot = _action(m.row, t)
        good, default = _entered(action, slot, t, d, n, seen, trusted, w)
        if not good:
            return False, Point(Z, 0.0, Z, Z, Z, Z, Z, Z, Z, False)
        if default:
            spare += p - here
        if slot != U(REPEATED):
            seen |= ONE << slot
        elif action == U(QUANTILE):
            quantiles += ONE
        else:
            exemplars += ONE


@_kernel
def _attributes_hash(p, e, atag, checked, st):
    """(sure, the order-independent hash of a point's attributes); `checked`: nothing else will look at them."""
    total = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            return True, total
        if t == atag:
            if checked and not _kv_ok(d, n, Z):
                return False, total
            total += _kv_hash(d, n, st[SECRET0], st[SECRET1], st[SECRET2], st[SECRET3])


@_kernel
def _unmet(p, e, m, point, region, why, trusted, tb, st):
    """(0, a reason's number, 255 not sure, 256 + what is full; series; alias) of attributes whose bytes were not met before."""
    # What is not kept still decides whether the body is well-formed.
    good, total = _attributes_hash(p, e, m.atag, why != Z and not trusted, st)
    if not good:
        return U(255), Z, Z
    if why != Z:
        return why, Z, Z
    key = _mum(m.ident ^ st[SECRET1], total ^ st[SECRET2])
    if key == Z:
        key = ONE
    found, at = _lookup(key, tb.keys, tb.slots)
    if found == Z:
        found, why = _new_series(key, at, p, e, m, tb, st)
        if why != Z:
            return why, Z, Z
    alias = Z
    if point.together:
        alias, full = _add_alias(region, found - ONE, st, tb)
        if full:
            return U(256 + ALIAS_FULL), Z, Z
    return Z, found - ONE, alias


@_inline
def _series_of(p, e, m, point, guess, trusted, tb, st):
    """(0, a reason's number, 255 not sure, 256 + what is full; series; alias). Reasons in the order of the reference: metric, time, point."""
    why = m.reason
    if why == Z and (point.time < st[OLDEST] or point.time > st[NEWEST]):
        why = ONE
    if why == Z and point.limit > st[MAX_BUCKETS]:
        why = U(5)
    region = Z
    if point.together:
        region = _region(point.attributes, point.end - point.attributes, m.ident, st[SECRET0], st[SECRET1], st[SECRET2], st[SECRET3])
        known, alias, index = _alias(region, guess, st, tb)
        if known:
            return why, index, alias
    return _unmet(p, e, m, point, region, why, trusted, tb, st)


@_inline
def _usual(p, n, m, guess, st, tb):
    """(whether it is a number's point in a usual order of fields whose attributes were met before, the point, its series, its alias).

    Time and value, then nothing but attributes: where their bytes are known, they need no second look.
    """
    none = Point(Z, 0.0, Z, Z, Z, Z, Z, Z, Z, False)
    if m.row != U(NUMBER_POINT):
        return False, none, Z, Z
    when, where, at, size = _layout(p, n)
    if when == Z:
        return False, none, Z, Z
    tag = _ld8(where)
    if tag != U(33) and tag != U(49):
        return False, none, Z, Z
    region = _region(at, size, m.ident, st[SECRET0], st[SECRET1], st[SECRET2], st[SECRET3])
    known, alias, index = _alias(region, guess, st, tb)
    bits = _ld64(where + ONE)
    value = _f64(bits) if tag == U(33) else _signed(bits)
    has = Z if tag == U(33) and bits & EXPONENT == EXPONENT else ONE
    return known, Point(_ld64(when), value, has, n, Z, ONE, Z, at, at + size, True), index, alias


@_inline
def _emit(pts, out, index, point):
    pts[out, PT_INDEX] = index
    pts[out, PT_TIME] = point.time
    pts[out, PT_VALUE] = _bits(point.value)
    pts[out, PT_BYTES] = _bits(float(point.size))
    pts[out, PT_FLAGS] = (point.prom << C32) | (point.exemplars << ONE) | point.has


@_inline
def _fetch_ahead(p, e):
    p &= ~U(63)
    while p < e:
        _prefetch(p + U(AHEAD))
        p += U(64)


@_inline
def _point(p, n, m, cursor, trusted, st, tb, w):
    """(what came of it as a code, the cursor after it) of one point."""
    _fetch_ahead(p, p + n)
    usual, point, index, alias = _usual(p, n, m, cursor.guess, st, tb)
    if usual:
        why = m.reason
        if why == Z and (point.time < st[OLDEST] or point.time > st[NEWEST]):
            why = ONE
    else:
        sure, point = _read_point(p, p + n, m, trusted, w)
        if not sure:
            return UNSURE, cursor
        why, index, alias = _series_of(p, p + n, m, point, cursor.guess, trusted, tb, st)
    if why != Z:
        if why == U(255):
            return UNSURE, cursor
        if why > U(255):
            st[GROW_WHAT] = why - U(256)
            return GROW, cursor
        st[REASON0 + why] += ONE
        return OK, cursor
    row = U(tb.rows.ctypes.data) + index * U(8 * ROW)
    _prefetch(row)
    _prefetch(row + U(64))
    if cursor.out >= U(tb.pts.shape[0]):
        st[GROW_WHAT] = U(OUT_FULL)
        return GROW, cursor
    _emit(tb.pts, cursor.out, index, point)
    w[EXEMPLARS_SEEN] += point.exemplars
    return OK, Cursor(cursor.out + ONE, alias + ONE)


EXEMPLARS_SEEN, BLOCKS_SEEN = 0, 1
"""Words of `w` that no slot uses: exemplars and blocks of this body."""


@_inline
def _note_block(tb, ctx, first, out, w):
    """Says which context the points from `first` on are of; there are no more blocks than points."""
    at = w[BLOCKS_SEEN]
    if out > first and at < U(tb.blocks.shape[0]):
        tb.blocks[at, BLOCK_CONTEXT] = ctx
        tb.blocks[at, BLOCK_FIRST] = first
        w[BLOCKS_SEEN] = at + ONE


@_inline
def _said(t, n, m, temp, mono):
    """(whether a field beside a metric's points is as it should be, temporality, monotonic)."""
    if t == U(16) and m.field != U(5) and m.field != U(11) and temp == Z and n != Z:
        return True, n, mono
    if t == U(24) and m.field == SEVEN and mono == Z and n == ONE:
        return True, temp, n
    return False, temp, mono


@_inline
def _points(p, e, m, cursor, trusted, st, tb, w):
    """(code, cursor, items) of a metric's data."""
    items = Z
    temp = Z
    mono = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == U(10):
            items += ONE
            if m.skip:
                continue
            code, cursor = _point(d, n, m, cursor, trusted, st, tb, w)
            if code != OK:
                return code, cursor, items
            continue
        if t == Z:
            break
        good, temp, mono = _said(t, n, m, temp, mono)
        if not good:
            return UNSURE, cursor, items
    if p == Z or (not trusted and (temp != m.temporality or mono != m.monotonic)):
        return UNSURE, cursor, items
    return OK, cursor, items


@_inline
def _metric(mp, me, base, rh, sh, skip, cursor, trusted, st, tb, w):
    """(code, cursor, items) of a metric."""
    good, data = _data(mp, me)
    if not good:
        return UNSURE, cursor, Z
    if data.field == Z:
        # A metric without data has no points; the library says whether the rest of it is well-formed.
        return OK if mp == me or trusted else UNSURE, cursor, Z
    good, temp, mono = _shape(data, trusted)
    if not good:
        return UNSURE, cursor, Z
    what = (data.field << SIXTEEN) | (temp << EIGHT) | mono
    mh, unknown, full = _metric_head(mp, me, data, what, base, st, tb)
    if full:
        return MISS, cursor, Z
    m = _unknown_metric(data, temp, mono)
    if not (skip or unknown):
        m, what = _known_metric(data, temp, mono, rh, sh, mh, st, tb)
        if what != Z:
            st[GROW_WHAT] = what
            return GROW, cursor, Z
    first = cursor.out
    code, cursor, items = _points(data.begin, data.end, m, cursor, trusted, st, tb, w)
    if code == OK:
        _share(tb.pts, first, cursor.out, PT_BYTES, data.at - mp + me - data.after, items)
        _note_block(tb, m.ctx, first, cursor.out, w)
    return code, cursor, items


@_inline
def _scope_metrics(sp, se, base, rh, skip, cursor, trusted, st, tb, w):
    """(code, cursor, items) of a ScopeMetrics."""
    good, at, size = _group(sp, se, trusted)
    if not good:
        return UNSURE, cursor, Z
    sh, unknown, full = _head(U(HEAD_SCOPE), at, size, base, st, tb.heads, tb.misses)
    if full:
        return MISS, cursor, Z
    first = cursor.out
    items = Z
    while True:
        t, sp, mp, mn = _next(sp, se)
        if t == Z:
            break
        if t == U(18):
            code, cursor, more = _metric(mp, mp + mn, base, rh, sh, skip or unknown, cursor, trusted, st, tb, w)
            if code != OK:
                return code, cursor, items
            items += more
    _share(tb.pts, first, cursor.out, PT_BYTES, size, items)
    return OK, cursor, items


@_inline
def _resource_metrics(rp, re, base, cursor, trusted, st, tb, w):
    """(code, cursor, items) of a ResourceMetrics."""
    good, at, size = _group(rp, re, trusted)
    if not good:
        return UNSURE, cursor, Z
    rh, unknown, full = _head(U(HEAD_RESOURCE), at, size, base, st, tb.heads, tb.misses)
    if full:
        return MISS, cursor, Z
    first = cursor.out
    items = Z
    while True:
        t, rp, sp, sn = _next(rp, re)
        if t == Z:
            break
        if t == U(18):
            code, cursor, more = _scope_metrics(sp, sp + sn, base, rh, unknown, cursor, trusted, st, tb, w)
            if code != OK:
                return code, cursor, items
            items += more
    _share(tb.pts, first, cursor.out, PT_BYTES, size, items)
    return OK, cursor, items


@_kernel
def scan_metrics(body, st, heads, ctx_slots, ctxs, slots, keys, rows, kv_slots, kvs, arena, skv, aliases, order, pts, misses, blocks, w):
    """One ExportMetricsServiceRequest to `pts`; nothing is counted in `rows` before `commit`."""
    tb = Tables(heads, ctx_slots, ctxs, slots, keys, rows, kv_slots, kvs, arena, skv, aliases, order, pts, misses, blocks)
    base = U(body.ctypes.data)
    end = base + U(body.size)
    trusted = st[TRUSTED] != Z
    w[EXEMPLARS_SEEN] = Z
    w[BLOCKS_SEEN] = Z
    cursor = Cursor(Z, st[GUESS])
    received = Z
    _cleared(st)
    p = base
    while True:
        t, p, rp, rn = _next(p, end)
        if t == Z:
            break
        if t != U(10):
            return UNSURE
        code, cursor, items = _resource_metrics(rp, rp + rn, base, cursor, trusted, st, tb, w)
        if code != OK:
            return code
        received += items
    if p == Z:
        return UNSURE
    if st[N_MISS] != Z:
        return MISS
    st[N_OUT] = cursor.out
    st[GUESS] = cursor.guess
    st[RECEIVED] = received
    st[N_BLOCKS] = w[BLOCKS_SEEN]
    st[EXEMPLARS] += w[EXEMPLARS_SEEN]
    return OK


# --- aggregation -----------------------------------------------------------------------------------------------------------------

SPILL_INDEX = 11
SPILLED = 12
"""A spilled aggregate: the first eleven words of its row, and the series' index."""


@_inline
def _spill(rows, i, spill, at):
    for c in range(11):
        spill[at, c] = rows[i, c]
    spill[at, SPILL_INDEX] = i


@_kernel
def spills(pts, n, rows, bucket_ns):
    """How many rows `commit` of these points may spill at most: an upper bound."""
    count = 0
    for j in range(n):
        i = pts[j, PT_INDEX]
        if rows[i, COUNT] != Z and rows[i, BUCKET] != pts[j, PT_TIME] // bucket_ns:
            count += 1
    return count


@_inline
def _gain(rows, i, tm, v):
    """What a value adds to its series: a delta's value; else the step from the last, from zero after a decrease."""
    if rows[i, SHAPE] & ONE:
        return v
    last = rows[i, PREV_T]
    if last != Z and tm <= last:
        return 0.0
    before = _f64(rows[i, PREV])
    rows[i, PREV_T] = tm
    rows[i, PREV] = _bits(v)
    if last == Z:
        return 0.0
    return v - before if v >= before else v


@_inline
def _begin(rows, i, bucket, tm, bits, gained, size, flags):
    rows[i, COUNT] = ONE
    rows[i, BUCKET] = bucket
    rows[i, FIRST_T] = tm
    rows[i, LAST_T] = tm
    rows[i, FIRST] = bits
    rows[i, LAST] = bits
    rows[i, INCREASE] = _bits(gained)
    rows[i, LOW] = bits
    rows[i, HIGH] = bits
    rows[i, BYTES] = size
    rows[i, EXEMPLAR_COUNT] = (flags & MAX32) >> ONE
    if rows[i, SHAPE] & (MAX32 - ONE) == Z:
        rows[i, SHAPE] |= flags >> C32 << ONE


@_inline
def _merge(rows, i, tm, v, gained, size, flags):
    bits = _bits(v)
    rows[i, COUNT] += ONE
    if tm < rows[i, FIRST_T]:
        rows[i, FIRST_T] = tm
        rows[i, FIRST] = bits
    if tm >= rows[i, LAST_T]:
        rows[i, LAST_T] = tm
        rows[i, LAST] = bits
    rows[i, INCREASE] = _bits(_f64(rows[i, INCREASE]) + gained)
    rows[i, BYTES] = _bits(_f64(rows[i, BYTES]) + _f64(size))
    rows[i, EXEMPLAR_COUNT] += (flags & MAX32) >> ONE
    least = _f64(rows[i, LOW])
    most = _f64(rows[i, HIGH])
    if v < least or least != least:
        rows[i, LOW] = bits
    if v > most or most != most:
        rows[i, HIGH] = bits


# --- sampled values ----------------------------------------------------------------------------------------------------------------

MIX_OFFSET, MIX_RANK = U(0x9E3779B97F4A7C15), U(0xC2B2AE3D27D4EB4F)
"""Odd constants that keep two uses of one series' id apart; the id itself is a keyed hash."""
SAMPLES_BITS = U(14)
"""Each 16,384 samples of a source in one segment double the width of the strata that begin after them."""


@_inline
def _log_weight(seen, samples):
    """1 for the first `samples`, then 2 for as many again, then 4, and so on."""
    left = (seen - ONE) // samples
    weight = ONE
    while left > Z:
        weight <<= ONE
        left >>= ONE
    return weight


@_inline
def _stratum(base, taken, samples):
    """Width of the stratum that begins at a metric's point number `base`: 1 for the first `samples`, then 2 for as many, 4 for twice as many, …"""
    shift = taken >> SAMPLES_BITS
    return _log_weight(base + ONE, samples) << (shift if shift < U(16) else U(16))


@_kernel
def _sample_values(st, pts, keys, ctxs, blocks, reservoirs, values):
    """One point of each stratum, at an offset that the point taken before decides: the points between are passed by in one step."""
    out = st[N_VALUES]
    taken = st[N_TAKEN]
    n = st[N_BLOCKS]
    for b in range(n):
        m = ctxs[blocks[b, BLOCK_CONTEXT], CTX_METRIC]
        first = blocks[b, BLOCK_FIRST]
        last = blocks[b + ONE, BLOCK_FIRST] if b + ONE < n else st[N_OUT]
        seen = reservoirs[m, RES_SEEN]
        end = seen + last - first
        while reservoirs[m, RES_NEXT] < end:
            j = first + reservoirs[m, RES_NEXT] - seen
            i = pts[j, PT_INDEX]
            tm = pts[j, PT_TIME]
            values[out, VAL_INDEX] = i
            values[out, VAL_TIME] = tm
            values[out, VAL_VALUE] = pts[j, PT_VALUE] if pts[j, PT_FLAGS] & ONE else NAN
            values[out, VAL_WEIGHT] = reservoirs[m, RES_MASK] + ONE
            values[out, VAL_METRIC] = m
            values[out, VAL_RANK] = _mum(keys[i] ^ MIX_RANK, tm)
            out += ONE
            taken += ONE
            base = reservoirs[m, RES_BASE] + reservoirs[m, RES_MASK] + ONE
            mask = _stratum(base, taken, st[VALUE_SAMPLES]) - ONE
            reservoirs[m, RES_BASE] = base
            reservoirs[m, RES_MASK] = mask
            reservoirs[m, RES_NEXT] = base + (_mum(keys[i] ^ MIX_OFFSET, tm ^ base) & mask)
        reservoirs[m, RES_SEEN] = end
    st[N_VALUES] = out
    st[N_TAKEN] = taken


@_kernel
def commit(st, pts, rows, keys, spill, spilled, ctxs, blocks, reservoirs, values):
    """Counts the points of a scan in their series' rows. A series that leaves its bucket spills what it has; returns how many rows are spilled in all.

    Then passes them by the reservoirs of their metrics: `values` has room for as many more rows as there are points.
    """
    n = st[N_OUT]
    bucket_ns = st[BUCKET_NS]
    low = ONE
    high = Z
    bucket = Z
    for j in range(n):
        i = pts[j, PT_INDEX]
        tm = pts[j, PT_TIME]
        v = _f64(pts[j, PT_VALUE])
        flags = pts[j, PT_FLAGS]
        if tm < low or tm >= high:
            bucket = tm // bucket_ns
            low = bucket * bucket_ns
            high = low + bucket_ns
        gained = 0.0
        if flags & ONE:
            gained = _gain(rows, i, tm, v)
        else:
            v = np.nan
        if rows[i, COUNT] != Z and rows[i, BUCKET] != bucket:
            _spill(rows, i, spill, spilled)
            spilled += ONE
            rows[i, COUNT] = Z
        if rows[i, COUNT] == Z:
            _begin(rows, i, bucket, tm, _bits(v), gained, pts[j, PT_BYTES], flags)
        else:
            _merge(rows, i, tm, v, gained, pts[j, PT_BYTES], flags)
    _sample_values(st, pts, keys, ctxs, blocks, reservoirs, values)
    return spilled


@_kernel
def dirty(rows, n):
    """How many series have something to be drained."""
    count = 0
    for i in range(n):
        if rows[i, COUNT] != Z:
            count += 1
    return count


@_kernel
def drain(rows, n, spill, at):
    """Spills every series that counted something; returns how many rows are spilled in all."""
    for i in range(n):
        if rows[i, COUNT] != Z:
            _spill(rows, i, spill, at)
            rows[i, COUNT] = Z
            at += 1
    return at


# --- logs and traces ---------------------------------------------------------------------------------------------------------------

IT_TIME, IT_BYTES, IT_SERVICE, IT_NUMBER, IT_NAME, IT_AT, IT_LEN, IT_RANK = range(8)
ITEM = 8
"""A log record or span between scan and commit. NUMBER: severity or span kind, as 32 bits."""
TALLY_KEY, TALLY_BUCKET, TALLY_SERVICE, TALLY_NAME, TALLY_NUMBER, TALLY_COUNT, TALLY_BYTES = range(7)
TALLY = 7


@_inline
def _limits(time, count, wrong, st):
    """0, or the reason's number: time, then attributes."""
    if time < st[OLDEST] or time > st[NEWEST]:
        return ONE
    if count > st[MAX_ATTRIBUTES]:
        return TWO
    return wrong


@_inline
def _text_hash(seen, w, slot, kind, st):
    """Of the bytes of a field; of none when it was not there."""
    n = _length_at(seen, w, slot)
    return _hash(w[2 * slot] if n != Z else Z, n, kind, st[SECRET0], st[SECRET1], st[SECRET2])


@_kernel
def _record(p, e, st, out, w):
    """A LogRecord to `out`; returns 0, a reason's number, or 255 when not sure."""
    sure, seen, spare, count, wrong = _fields(p, e, U(RECORD_FIELDS), st, w)
    if not sure:
        return U(255)
    at = _fixed_at(seen, w, 1)
    out[IT_TIME] = at if at != Z else _fixed_at(seen, w, 11)
    out[IT_BYTES] = _bits(float(e - p - spare))
    out[IT_NUMBER] = _length_at(seen, w, 2) & MAX32
    out[IT_NAME] = Z
    if _length_at(seen, w, 9) != Z:
        out[IT_RANK] = _text_hash(seen, w, 9, U(TRACE), st)
    else:
        out[IT_RANK] = _mum(_text_hash(seen, w, 5, U(TEXT), st) ^ st[SECRET3], out[IT_TIME] ^ st[SECRET0])
    return _limits(out[IT_TIME], count, wrong, st)


@_kernel
def _span(p, e, st, out, base, heads, misses, w):
    """A Span to `out`; returns 0, a reason's number, 255 when not sure, 254 when its name was not met before, 253 when full."""
    sure, seen, spare, count, wrong = _fields(p, e, U(SPAN_FIELDS), st, w)
    if not sure:
        return U(255)
    out[IT_TIME] = _fixed_at(seen, w, 7)
    out[IT_BYTES] = _bits(float(e - p - spare))
    out[IT_NUMBER] = _length_at(seen, w, 6) & MAX32
    out[IT_RANK] = _text_hash(seen, w, 1, U(TRACE), st)
    why = _limits(out[IT_TIME], count, wrong, st)
    if why != Z:
        return why
    n = _length_at(seen, w, 5)
    row, unknown, full = _head(U(HEAD_NAME), w[10] if n != Z else p, n, base, st, heads, misses)
    if full:
        return U(253)
    if unknown:
        return U(254)
    out[IT_NAME] = heads[row, HEAD_ID]
    return Z


class Group(NamedTuple):
    """What the items of a resource share. `skip`: its head is not known yet."""

    service: Any
    reason: Any
    skip: Any


@_inline
def _item(d, n, base, group, out, st, heads, items, misses, spans, w):
    """(code, items written after it) of a log record or span."""
    if out >= U(items.shape[0]):
        st[GROW_WHAT] = U(OUT_FULL)
        return GROW, out
    if spans:
        why = _span(d, d + n, st, items[out], base, heads, misses, w)
    else:
        why = _record(d, d + n, st, items[out], w)
    if why == U(255):
        return UNSURE, out
    if why == U(253):
        return MISS, out
    if why == U(254) or group.skip:
        return OK, out
    if group.reason != Z:
        why = group.reason
    if why != Z:
        st[REASON0 + why] += ONE
        return OK, out
    items[out, IT_SERVICE] = group.service
    items[out, IT_AT] = d - base
    items[out, IT_LEN] = n
    return OK, out + ONE


@_kernel
def _scope_items(sp, se, base, group, out, st, heads, items, misses, spans, w):
    """(code, items written, items met) of a ScopeLogs or ScopeSpans."""
    trusted = st[TRUSTED] != Z
    good, at, size = _group(sp, se, trusted)
    if not good:
        return UNSURE, out, Z
    skip = group.skip
    if not trusted:
        # Only its size counts here, but it must be canonical for that; metrics know it by its hash.
        row, unknown, full = _head(U(HEAD_SCOPE), at, size, base, st, heads, misses)
        if full:
            return MISS, out, Z
        skip = skip or unknown
    group = Group(group.service, group.reason, skip)
    first = out
    met = Z
    while True:
        t, sp, d, n = _next(sp, se)
        if t == Z:
            break
        if t == U(18):
            met += ONE
            code, out = _item(d, n, base, group, out, st, heads, items, misses, spans, w)
            if code != OK:
                return code, out, met
    _share(items, first, out, IT_BYTES, size, met)
    return OK, out, met


@_kernel
def _resource_items(rp, re, base, out, st, heads, items, misses, spans, w):
    """(code, items written, items met) of a ResourceLogs or ResourceSpans."""
    good, at, size = _group(rp, re, st[TRUSTED] != Z)
    if not good:
        return UNSURE, out, Z
    row, unknown, full = _head(U(HEAD_RESOURCE), at, size, base, st, heads, misses)
    if full:
        return MISS, out, Z
    group = Group(heads[row, HEAD_ID] >> C32, heads[row, HEAD_REASON], unknown)
    first = out
    met = Z
    while True:
        t, rp, sp, sn = _next(rp, re)
        if t == Z:
            break
        if t == U(18):
            code, out, more = _scope_items(sp, sp + sn, base, group, out, st, heads, items, misses, spans, w)
            if code != OK:
                return code, out, met
            met += more
    _share(items, first, out, IT_BYTES, size, met)
    return OK, out, met


@_kernel
def scan_items(body, st, heads, items, misses, spans, w):
    """One ExportLogsServiceRequest, or, with `spans`, ExportTraceServiceRequest, to `items`."""
    base = U(body.ctypes.data)
    end = base + U(body.size)
    out = Z
    received = Z
    _cleared(st)
    p = base
    while True:
        t, p, rp, rn = _next(p, end)
        if t == Z:
            break
        if t != U(10):
            return UNSURE
        code, out, met = _resource_items(rp, rp + rn, base, out, st, heads, items, misses, spans, w)
        if code != OK:
            return code
        received += met
    if p == Z:
        return UNSURE
    if st[N_MISS] != Z:
        return MISS
    st[N_OUT] = out
    st[RECEIVED] = received
    return OK


@_kernel
def rehash_tallies(tallies, n, slots):
    mask = U(slots.size - 1)
    for k in range(n):
        i = tallies[k, TALLY_KEY] & mask
        while slots[i] != Z:
            i = (i + ONE) & mask
        slots[i] = U(k) + ONE


@_inline
def _tally(key, tallies, slots):
    mask = U(slots.size - 1)
    i = key & mask
    while slots[i] != Z and tallies[slots[i] - ONE, TALLY_KEY] != key:
        i = (i + ONE) & mask
    return i


@_kernel
def commit_items(st, items, n, tallies, slots, groups, group_slots, samples, spans):
    """Counts n items and chooses samples: (item's index, weight). `tallies`, `groups` and `samples` have room for n more rows each."""
    bucket_ns = st[BUCKET_NS]
    s0 = st[SECRET0]
    s1 = st[SECRET1]
    s2 = st[SECRET2]
    s3 = st[SECRET3]
    count = st[N_TALLY]
    seen = st[N_SEEN]
    chosen = Z
    for j in range(n):
        bucket = items[j, IT_TIME] // bucket_ns
        group = _mum((items[j, IT_SERVICE] << C32 | items[j, IT_NUMBER]) ^ s0, items[j, IT_NAME] ^ s1)
        if group == Z:
            group = ONE
        key = _mum(group ^ s2, bucket ^ s3)
        if key == Z:
            key = ONE
        i = _tally(key, tallies, slots)
        if slots[i] == Z:
            tallies[count, TALLY_KEY] = key
            tallies[count, TALLY_BUCKET] = bucket
            tallies[count, TALLY_SERVICE] = items[j, IT_SERVICE]
            tallies[count, TALLY_NAME] = items[j, IT_NAME]
            tallies[count, TALLY_NUMBER] = items[j, IT_NUMBER]
            tallies[count, TALLY_COUNT] = Z
            tallies[count, TALLY_BYTES] = Z
            count += ONE
            slots[i] = count
        row = slots[i] - ONE
        tallies[row, TALLY_COUNT] += ONE
        tallies[row, TALLY_BYTES] = _bits(_f64(tallies[row, TALLY_BYTES]) + _f64(items[j, IT_BYTES]))
        if spans:
            weight = st[TRACE_MASK] + ONE
        else:
            i = _tally(group, groups, group_slots)
            if group_slots[i] == Z:
                groups[seen, TALLY_KEY] = group
                groups[seen, TALLY_COUNT] = Z
                seen += ONE
                group_slots[i] = seen
            groups[group_slots[i] - ONE, TALLY_COUNT] += ONE
            weight = _log_weight(groups[group_slots[i] - ONE, TALLY_COUNT], st[LOG_SAMPLES])
        if items[j, IT_RANK] & (weight - ONE) == Z:
            samples[chosen, 0] = U(j)
            samples[chosen, 1] = weight
            chosen += ONE
    st[N_TALLY] = count
    st[N_SEEN] = seen
    st[N_SAMPLED] = chosen


# --- draining ----------------------------------------------------------------------------------------------------------------------


@_kernel
def unstamped(spill, n, rows, stamp, found):
    """Indices of the series among n spilled rows that do not yet carry `stamp`, which they are given; returns how many."""
    count = 0
    for j in range(n):
        i = spill[j, SPILL_INDEX]
        if rows[i, SHAPE] >> C32 != stamp:
            rows[i, SHAPE] = (rows[i, SHAPE] & MAX32) | (stamp << C32)
            found[count] = i
            count += 1
    return count


@_kernel
def series_kvs(found, n, rows, skv, kvs, seen, stamp, offsets, values, fresh):
    """Point key-values of n series as list offsets and ids; key-values not yet `seen` with `stamp` go to `fresh`. Returns how many."""
    at = U(0)
    new = 0
    for j in range(n):
        offsets[j] = at
        where = rows[found[j], SKV]
        begin = where >> SIXTEEN
        for k in range(begin, begin + (where & U(0xFFFF))):
            kv = U(skv[k])
            values[at] = kvs[kv, 0]
            at += ONE
            if seen[kv] != stamp:
                seen[kv] = stamp
                fresh[new] = kv
                new += 1
    offsets[n] = at
    return new


@_kernel
def count_kvs(found, n, rows):
    total = U(0)
    for j in range(n):
        total += rows[found[j], SKV] & U(0xFFFF)
    return total


@_kernel
def resource_kvs(resources, n, begins, flat, kvs, seen, stamp, offsets, values, fresh, new):
    """The same for the resources of n series, whose key-values are flat[begins[r] : begins[r + 1]]."""
    at = U(0)
    for j in range(n):
        offsets[j] = at
        r = resources[j]
        for k in range(begins[r], begins[r + ONE]):
            kv = U(flat[k])
            values[at] = kvs[kv, 0]
            at += ONE
            if seen[kv] != stamp:
                seen[kv] = stamp
                fresh[new] = kv
                new += 1
    offsets[n] = at
    return new


@_kernel
def kv_texts(fresh, n, kvs, arena, key_ends, keys, value_ends, values, plain):
    """Keys and string values of n key-values, copied one after another; `plain` says which values are strings. Returns the sizes."""
    base = U(arena.ctypes.data)
    ka = U(0)
    va = U(0)
    for j in range(n):
        p = base + kvs[fresh[j], 1]
        e = p + kvs[fresh[j], 2]
        plain[j] = False
        while True:
            t, p, d, length = _next(p, e)
            if t == Z:
                break
            if t == U(10):
                for i in range(length):
                    keys[ka + U(i)] = np.uint8(_ld8(d + U(i)))
                ka += length
            elif t == U(18):
                t2, q, d2, n2 = _next(d, d + length)
                if t2 == U(10) and q == d + length:
                    plain[j] = True
                    for i in range(n2):
                        values[va + U(i)] = np.uint8(_ld8(d2 + U(i)))
                    va += n2
        key_ends[j + 1] = ka
        value_ends[j + 1] = va
    return ka, va


@_kernel
def keep_series(kept, rows, keys, skv, new_rows, new_keys, new_skv):
    """Copies the series listed in `kept` to new arrays; returns the length of the new key-value lists."""
    at = U(0)
    for j in range(kept.size):
        i = kept[j]
        new_keys[j] = keys[i]
        for c in range(ROW):
            new_rows[j, c] = rows[i, c]
        where = rows[i, SKV]
        begin = where >> SIXTEEN
        count = where & U(0xFFFF)
        for k in range(count):
            new_skv[at + U(k)] = skv[begin + U(k)]
        new_rows[j, SKV] = (at << SIXTEEN) | count
        at += count
    return at


@_kernel
def move_texts(kvs, n, old, new):
    """Copies the bytes of n key-values to a new arena and says so in `kvs`; returns how many bytes."""
    at = U(0)
    for j in range(n):
        begin = kvs[j, 1]
        size = kvs[j, 2]
        for i in range(size):
            new[at + U(i)] = old[begin + U(i)]
        kvs[j, 1] = at
        at += size
    return at
