# pyright: basic, reportUntypedFunctionDecorator=false, reportCallIssue=false, reportGeneralTypeIssues=false
"""Compiled kernels of the tap: one pass over OTLP protobuf, no string built for what is known. `ingest.wire` drives them.

A kernel accepts only what it is sure of: canonical protobuf of fields it knows, as exporters write it. Anything else makes it return
`UNSURE`, and the protobuf library decides: it refuses the body, or writes it anew in canonical form, which is scanned as `trusted`. So a
kernel never refuses a body, and never has to agree with the library on what is malformed.

Reads are checked against the end of their message before they happen; writes against the capacity of their array. All integers are uint64:
numba would make a float of a signed and an unsigned one.
"""

from __future__ import annotations

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
    N_ALIAS, REASON0,
) = range(30)  # fmt: skip
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


_inline = njit(forceinline=True, nogil=True, cache=True)
_kernel = njit(nogil=True, cache=True)


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


@_kernel
def _packed_ok(p, n):
    """Whether n bytes are shortest-form varints."""
    e = p + n
    while p < e:
        v, p = _varint(p, e)
        if p == Z:
            return False
    return True


@_kernel
def _exemplar_ok(p, e, trusted):
    """Whether p..e is a canonical Exemplar."""
    if trusted:
        return True
    seen = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            return p != Z
        if t == U(58):
            if not _kv_ok(d, n, Z):
                return False
            continue
        if t == U(17):
            bit = ONE
            if _ld64(d) == Z:
                return False
        elif t == U(25) or t == U(49):
            bit = TWO
        elif t == U(34):
            bit = FOUR
        elif t == U(42):
            bit = EIGHT
        else:
            return False
        if (t & SEVEN == TWO and n == Z) or seen & bit:
            return False
        seen |= bit


@_kernel
def _buckets_ok(p, e, trusted):
    """(whether p..e is canonical Buckets of an exponential histogram, how many)."""
    seen = Z
    count = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            return p != Z, count
        if t == U(8):
            bit = ONE
            if n == Z or n > MAX32:
                return False, count
        elif t == U(18):
            bit = TWO
            if n == Z or (not trusted and not _packed_ok(d, n)):
                return False, count
            i = Z
            while i < n:
                if _ld8(d + i) < U(128):
                    count += ONE
                i += ONE
        else:
            return False, count
        if seen & bit:
            return False, count
        seen |= bit


@_kernel
def _quantile_ok(p, e):
    seen = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            return p != Z
        if t == U(9):
            bit = ONE
        elif t == U(17):
            bit = TWO
        else:
            return False
        if seen & bit or _ld64(d) == Z:
            return False
        seen |= bit


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
            new[i, :] = old[j, :]


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
def _new_series(key, at, p, e, atag, ctx, delta, st, slots, keys, rows, kv_slots, kvs, arena, skv):
    """(index + 1, 0); (0, a reason's number) when it is over a limit; (0, 255) when not sure; (0, 256 + what) when full."""
    count = Z
    q = p
    while True:
        t, q, d, n = _next(q, e)
        if t == Z:
            break
        if t == atag:
            count += ONE
    if count > st[MAX_ATTRIBUTES]:
        q = p
        while True:
            t, q, d, n = _next(q, e)
            if t == Z:
                return Z, TWO
            if t == atag and _attribute(d, n, st) == U(255):
                return Z, U(255)
    k = st[N_SERIES]
    if k >= U(keys.size) or (k + ONE) * TWO > U(slots.size):
        return Z, U(256 + SERIES_FULL)
    begin = st[N_SKV]
    if begin + count > U(skv.size):
        return Z, U(256 + SKV_FULL)
    wrong = Z
    q = p
    while True:
        t, q, d, n = _next(q, e)
        if t == Z:
            break
        if t == atag:
            why = _attribute(d, n, st)
            if why == U(255):
                return Z, U(255)
            if wrong == Z:
                wrong = why
    if wrong != Z:
        return Z, wrong
    at_ = begin
    q = p
    while True:
        t, q, d, n = _next(q, e)
        if t == Z:
            break
        if t != atag:
            continue
        index, full = intern_kv(d, n, st, kv_slots, kvs, arena)
        if full != Z:
            return Z, U(256) + full
        j = at_
        while j > begin and kvs[U(skv[j - ONE]), 0] > kvs[index, 0]:
            skv[j] = skv[j - ONE]
            j -= ONE
        skv[j] = np.uint32(index)
        at_ += ONE
    st[N_SKV] = at_
    st[N_SERIES] = k + ONE
    keys[k] = key
    rows[k, :] = Z
    rows[k, CONTEXT] = ctx
    rows[k, SKV] = (begin << SIXTEEN) | count
    rows[k, SHAPE] = delta
    slots[at] = (key >> C32 << C32) | (k + ONE)
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
    """(where its time lies, its value's tag, its attributes) of a number's point in one of the four usual orders; time 0 when in another.

    Fields ascend (the protobuf library) or descend (the Collector), with a start time or without. That the attributes are attributes and
    nothing else is known only once their bytes were met before.
    """
    de = dp + dn
    if dn >= U(27):
        if _ld8(dp) == U(17) and _ld8(dp + U(9)) == U(25) and _ld64(dp + ONE) != Z:
            return dp + U(10), dp + U(18), dp + U(27), dn - U(27)
        if _ld8(de - U(9)) == U(17) and _ld8(de - U(18)) == U(25) and _ld64(de - EIGHT) != Z:
            return de - U(17), de - U(27), dp, dn - U(27)
    if dn >= U(18):
        if _ld8(dp) == U(25):
            return dp + ONE, dp + U(9), dp + U(18), dn - U(18)
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


@_kernel
def scan_metrics(body, st, heads, ctx_slots, ctxs, slots, keys, rows, kv_slots, kvs, arena, skv, aliases, order, pts, misses):
    """One ExportMetricsServiceRequest to `pts`; nothing is counted in `rows` before `commit`."""
    base = U(body.ctypes.data)
    end = base + U(body.size)
    s0 = st[SECRET0]
    s1 = st[SECRET1]
    s2 = st[SECRET2]
    s3 = st[SECRET3]
    trusted = st[TRUSTED] != Z
    oldest = st[OLDEST]
    newest = st[NEWEST]
    guess = st[GUESS]
    home = U(rows.ctypes.data)
    out = Z
    received = Z
    exemplars = Z
    st[N_MISS] = Z
    st[N_OUT] = Z
    for i in range(len(REASONS)):
        st[REASON0 + i] = Z
    empty = base
    p = base
    while True:
        t, p, rp, rn = _next(p, end)
        if t == Z:
            break
        if t != U(10):
            return UNSURE
        re = rp + rn
        # The resource may come after what it describes.
        res_at = empty
        res_n = Z
        seen = Z
        q = rp
        while True:
            t, q, d, n = _next(q, re)
            if t == Z:
                break
            if t == U(10):
                if seen & ONE:
                    return UNSURE
                seen |= ONE
                res_at = d
                res_n = n
            elif t == U(26):
                if seen & TWO or (not trusted and not _utf8(d, n)):
                    return UNSURE
                seen |= TWO
            elif t != U(18):
                return UNSURE
        if q == Z:
            return UNSURE
        rkey = _hash(res_at, res_n, U(HEAD_RESOURCE), s0, s1, s2)
        rh = _find_head(heads, rkey)
        skip_r = heads[rh, HEAD_KEY] == Z
        if skip_r and not _miss(st, misses, U(HEAD_RESOURCE), rkey, res_at - base, res_n, Z, Z, Z):
            return MISS
        res_first = out
        res_items = Z
        q = rp
        while True:
            t, q, sp, sn = _next(q, re)
            if t == Z:
                break
            if t != U(18):
                continue
            se = sp + sn
            sc_at = empty
            sc_n = Z
            seen = Z
            q2 = sp
            while True:
                t, q2, d, n = _next(q2, se)
                if t == Z:
                    break
                if t == U(10):
                    if seen & ONE:
                        return UNSURE
                    seen |= ONE
                    sc_at = d
                    sc_n = n
                elif t == U(26):
                    if seen & TWO or (not trusted and not _utf8(d, n)):
                        return UNSURE
                    seen |= TWO
                elif t != U(18):
                    return UNSURE
            if q2 == Z:
                return UNSURE
            skey = _hash(sc_at, sc_n, U(HEAD_SCOPE), s0, s1, s2)
            sh = _find_head(heads, skey)
            skip_s = heads[sh, HEAD_KEY] == Z
            if skip_s and not _miss(st, misses, U(HEAD_SCOPE), skey, sc_at - base, sc_n, Z, Z, Z):
                return MISS
            sc_first = out
            sc_items = Z
            q2 = sp
            while True:
                t, q2, mp, mn = _next(q2, se)
                if t == Z:
                    break
                if t != U(18):
                    continue
                me = mp + mn
                data = Z
                bn = Z
                bp = Z
                field = Z
                after = me
                q3 = mp
                while True:
                    at = q3
                    t, q3, d, n = _next(q3, me)
                    if t == Z:
                        break
                    f = t >> THREE
                    if (f == U(5) or f == SEVEN or (f >= U(9) and f <= U(11))) and t & SEVEN == TWO:
                        if data != Z:
                            return UNSURE
                        data = d
                        bp = at
                        bn = n
                        field = f
                        after = q3
                if q3 == Z:
                    return UNSURE
                if data == Z:
                    # A metric without data has no points; the library says whether the rest of it is well-formed.
                    if mn != Z and not trusted:
                        return UNSURE
                    continue
                be = data + bn
                temp = Z
                mono = Z
                if field == SEVEN or field == U(9) or field == U(10):
                    if trusted:
                        temp, mono = _temporality(data, be)
                    else:
                        temp, mono = _guessed(data, be)
                if (field != SEVEN and mono != Z) or temp > TWO or mono > ONE:
                    return UNSURE
                what = (field << SIXTEEN) | (temp << EIGHT) | mono
                mkey = _mum(
                    _hash(mp, bp - mp, U(HEAD_METRIC), s0, s1, s2) ^ s3, _hash(after, me - after, U(HEAD_METRIC), s0, s1, s2) ^ what
                )
                if mkey == Z:
                    mkey = ONE
                mh = _find_head(heads, mkey)
                skip_m = heads[mh, HEAD_KEY] == Z
                if skip_m and not _miss(st, misses, U(HEAD_METRIC), mkey, mp - base, bp - mp, after - base, me - after, what):
                    return MISS
                skip = skip_r or skip_s or skip_m
                reason = Z
                ctx = Z
                ident = Z
                if not skip:
                    reason = heads[rh, HEAD_REASON]
                    if reason == Z:
                        reason = heads[mh, HEAD_REASON]
                    ident = _mum(_mum(heads[rh, HEAD_IDENTITY] ^ s0, heads[sh, HEAD_IDENTITY] ^ s1) ^ s2, heads[mh, HEAD_IDENTITY] ^ s3)
                    ctx, full = _context(ident, heads[rh, HEAD_ID] & MAX32, heads[sh, HEAD_ID], heads[mh, HEAD_ID], st, ctx_slots, ctxs)
                    if full != Z:
                        st[GROW_WHAT] = full
                        return GROW
                delta = ONE if temp == ONE else Z
                atag = U(58)
                if field == U(9):
                    atag = U(74)
                elif field == U(10):
                    atag = U(10)
                number = field < U(9)
                m_first = out
                m_items = Z
                got_temp = Z
                got_mono = Z
                seen_m = Z
                q3 = data
                while True:
                    t, q3, dp, dn = _next(q3, be)
                    if t == Z:
                        break
                    if t != U(10):
                        if t == U(16) and field != U(5) and field != U(11) and seen_m & ONE == Z and dn != Z:
                            seen_m |= ONE
                            got_temp = dn
                        elif t == U(24) and field == SEVEN and seen_m & TWO == Z and dn == ONE:
                            seen_m |= TWO
                            got_mono = dn
                        else:
                            return UNSURE
                        continue
                    m_items += ONE
                    if skip:
                        continue
                    de = dp + dn
                    q4 = dp & ~U(63)
                    while q4 < de:
                        _prefetch(q4 + U(AHEAD))
                        q4 += U(64)
                    tm = Z
                    v = 0.0
                    has = Z
                    size = dn
                    ex = Z
                    prom = ONE
                    hit = False
                    alias = Z
                    index = Z
                    when = Z
                    if number:
                        when, where, region, region_n = _layout(dp, dn)
                    if when != Z:
                        # Time and value, then nothing but attributes: where their bytes are known, they need no second look.
                        tag = _ld8(where)
                        if tag == U(33) or tag == U(49):
                            tm = _ld64(when)
                            rk = _region(region, region_n, ident, s0, s1, s2, s3)
                            if guess < st[N_ALIAS] and order[guess, 0] == rk:
                                hit = True
                                alias = guess
                                index = order[guess, 1]
                            else:
                                at = _find_alias(rk, aliases)
                                if aliases[at, 0] == rk:
                                    hit = True
                                    alias = aliases[at, 1] >> C32
                                    index = aliases[at, 1] & MAX32
                            if hit:
                                bits = _ld64(where + ONE)
                                if tag == U(33):
                                    v = _f64(bits)
                                    has = Z if bits & EXPONENT == EXPONENT else ONE
                                else:
                                    v = _signed(bits)
                                    has = ONE
                                if reason != Z or tm < oldest or tm > newest:
                                    st[REASON0 + (reason if reason != Z else ONE)] += ONE
                                    continue
                    if not hit:
                        tm = Z
                        seen = Z
                        noval = Z
                        buckets = Z
                        begin = de
                        stop = Z
                        scattered = False
                        if field == U(9):
                            prom = THREE
                        elif field == U(11):
                            prom = TWO
                        if not number:
                            has = ONE
                        q4 = dp
                        while True:
                            here = q4
                            t, q4, d, n = _next(q4, de)
                            if t == Z:
                                break
                            if t == atag:
                                if stop == Z:
                                    begin = here
                                elif stop != here:
                                    scattered = True
                                while de - q4 > TWO and _ld8(q4) == atag:
                                    n = _ld8(q4 + ONE)
                                    if n >= U(128) or n > de - q4 - TWO:
                                        break
                                    q4 += n + TWO
                                stop = q4
                                continue
                            if t == U(25):
                                bit = ONE
                                tm = _ld64(d)
                            elif t == U(17):
                                bit = TWO
                                if _ld64(d) == Z:
                                    size -= U(9)
                            elif number:
                                if t == U(33):
                                    bit = FOUR
                                    bits = _ld64(d)
                                    v = _f64(bits)
                                    has = Z if bits & EXPONENT == EXPONENT else ONE
                                elif t == U(49):
                                    bit = FOUR
                                    v = _signed(_ld64(d))
                                    has = ONE
                                elif t == U(42):
                                    if not _exemplar_ok(d, d + n, trusted):
                                        return UNSURE
                                    ex += ONE
                                    continue
                                elif t == U(64):
                                    bit = EIGHT
                                    if n > MAX32:
                                        return UNSURE
                                    if n == Z:
                                        size -= TWO
                                    noval = n & ONE
                                else:
                                    return UNSURE
                            elif t == U(33):
                                bit = FOUR
                                bits = _ld64(d)
                                v = float(bits)
                                if bits == Z:
                                    size -= U(9)
                            elif field == U(9):
                                if t == U(41):
                                    bit = SIXTEEN
                                elif t == U(50):
                                    bit = U(32)
                                    if n & SEVEN:
                                        return UNSURE
                                    if n == Z:
                                        size -= TWO
                                    if n >> THREE > buckets:
                                        buckets = n >> THREE
                                elif t == U(58):
                                    bit = U(64)
                                    if n & SEVEN:
                                        return UNSURE
                                    if n == Z:
                                        size -= TWO
                                    if n >> THREE > buckets:
                                        buckets = n >> THREE
                                    prom = THREE + (n >> THREE)
                                elif t == U(66):
                                    if not _exemplar_ok(d, d + n, trusted):
                                        return UNSURE
                                    ex += ONE
                                    continue
                                elif t == U(80):
                                    bit = EIGHT
                                    if n > MAX32:
                                        return UNSURE
                                    if n == Z:
                                        size -= TWO
                                    noval = n & ONE
                                elif t == U(89):
                                    bit = U(128)
                                elif t == U(97):
                                    bit = U(256)
                                else:
                                    return UNSURE
                            elif field == U(10):
                                if t == U(41):
                                    bit = SIXTEEN
                                elif t == U(48):
                                    bit = U(32)
                                    if n == Z or n > MAX32:
                                        return UNSURE
                                elif t == U(57):
                                    bit = U(64)
                                    if _ld64(d) == Z:
                                        size -= U(9)
                                elif t == U(66) or t == U(74):
                                    bit = U(512) if t == U(66) else U(1024)
                                    good, count = _buckets_ok(d, d + n, trusted)
                                    if not good:
                                        return UNSURE
                                    if count > buckets:
                                        buckets = count
                                elif t == U(80):
                                    bit = EIGHT
                                    if n > MAX32:
                                        return UNSURE
                                    if n == Z:
                                        size -= TWO
                                    noval = n & ONE
                                elif t == U(90):
                                    if not _exemplar_ok(d, d + n, trusted):
                                        return UNSURE
                                    ex += ONE
                                    continue
                                elif t == U(97):
                                    bit = U(128)
                                elif t == U(105):
                                    bit = U(256)
                                elif t == U(113):
                                    bit = U(2048)
                                    if _ld64(d) == Z:
                                        size -= U(9)
                                else:
                                    return UNSURE
                            else:
                                if t == U(41):
                                    bit = SIXTEEN
                                    if _ld64(d) == Z:
                                        size -= U(9)
                                elif t == U(50):
                                    if not trusted and not _quantile_ok(d, d + n):
                                        return UNSURE
                                    prom += ONE
                                    buckets += ONE
                                    continue
                                elif t == U(64):
                                    bit = EIGHT
                                    if n > MAX32:
                                        return UNSURE
                                    if n == Z:
                                        size -= TWO
                                    noval = n & ONE
                                else:
                                    return UNSURE
                            if seen & bit:
                                return UNSURE
                            seen |= bit
                        if q4 == Z:
                            return UNSURE
                        if noval != Z:
                            has = Z
                        if stop == Z:
                            stop = begin
                        known = False
                        if not scattered:
                            rk = _region(begin, stop - begin, ident, s0, s1, s2, s3)
                            if guess < st[N_ALIAS] and order[guess, 0] == rk:
                                known = True
                                alias = guess
                                index = order[guess, 1]
                            else:
                                at = _find_alias(rk, aliases)
                                if aliases[at, 0] == rk:
                                    known = True
                                    alias = aliases[at, 1] >> C32
                                    index = aliases[at, 1] & MAX32
                        # In the order of the reference: the resource and the metric, then time, then the point itself.
                        why = reason
                        if why == Z and (tm < oldest or tm > newest):
                            why = ONE
                        if why == Z and buckets > st[MAX_BUCKETS]:
                            why = U(5)
                        if not known:
                            ah = Z
                            q4 = dp
                            while True:
                                t, q4, d, n = _next(q4, de)
                                if t == Z:
                                    break
                                if t == atag:
                                    # What is not kept still decides whether the body is well-formed.
                                    if why != Z and not trusted and not _kv_ok(d, n, Z):
                                        return UNSURE
                                    ah += _kv_hash(d, n, s0, s1, s2, s3)
                            if why == Z:
                                key = _mum(ident ^ s1, ah ^ s2)
                                if key == Z:
                                    key = ONE
                                found, at = _lookup(key, keys, slots)
                                if found == Z:
                                    found, why = _new_series(
                                        key, at, dp, de, atag, ctx, delta, st, slots, keys, rows, kv_slots, kvs, arena, skv
                                    )
                                    if why == U(255):
                                        return UNSURE
                                    if why >= U(256):
                                        st[GROW_WHAT] = why - U(256)
                                        return GROW
                                index = found - ONE
                                if why == Z and not scattered:
                                    alias = st[N_ALIAS]
                                    if alias >= U(order.shape[0]) or (alias + ONE) * TWO > U(aliases.shape[0]):
                                        st[GROW_WHAT] = U(ALIAS_FULL)
                                        return GROW
                                    order[alias, 0] = rk
                                    order[alias, 1] = index
                                    at = _find_alias(rk, aliases)
                                    aliases[at, 0] = rk
                                    aliases[at, 1] = (alias << C32) | index
                                    st[N_ALIAS] = alias + ONE
                        if why != Z:
                            st[REASON0 + why] += ONE
                            continue
                    guess = alias + ONE
                    row = home + index * U(8 * ROW)
                    _prefetch(row)
                    _prefetch(row + U(64))
                    if out >= U(pts.shape[0]):
                        st[GROW_WHAT] = U(OUT_FULL)
                        return GROW
                    pts[out, PT_INDEX] = index
                    pts[out, PT_TIME] = tm
                    pts[out, PT_VALUE] = _bits(v)
                    pts[out, PT_BYTES] = _bits(float(size))
                    pts[out, PT_FLAGS] = (prom << C32) | (ex << ONE) | has
                    exemplars += ex
                    out += ONE
                if q3 == Z or (not trusted and (got_temp != temp or got_mono != mono)):
                    return UNSURE
                sc_items += m_items
                if m_items > Z:
                    share = float((bp - mp) + (me - after)) / float(m_items)
                    for i in range(m_first, out):
                        pts[i, PT_BYTES] = _bits(_f64(pts[i, PT_BYTES]) + share)
            if q2 == Z:
                return UNSURE
            res_items += sc_items
            if sc_items > Z:
                share = float(sc_n) / float(sc_items)
                for i in range(sc_first, out):
                    pts[i, PT_BYTES] = _bits(_f64(pts[i, PT_BYTES]) + share)
        if q == Z:
            return UNSURE
        received += res_items
        if res_items > Z:
            share = float(res_n) / float(res_items)
            for i in range(res_first, out):
                pts[i, PT_BYTES] = _bits(_f64(pts[i, PT_BYTES]) + share)
    if p == Z:
        return UNSURE
    if st[N_MISS] != Z:
        return MISS
    st[N_OUT] = out
    st[GUESS] = guess
    st[RECEIVED] = received
    st[EXEMPLARS] += exemplars
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


@_kernel
def commit(pts, n, rows, bucket_ns, spill, spilled):
    """Counts n points in their series' rows. A series that leaves its bucket spills what it has; returns how many rows are spilled in all."""
    low = ONE
    high = Z
    bucket = Z
    for j in range(n):
        i = pts[j, PT_INDEX]
        tm = pts[j, PT_TIME]
        v = _f64(pts[j, PT_VALUE])
        flags = pts[j, PT_FLAGS]
        has = flags & ONE != Z
        if tm < low or tm >= high:
            bucket = tm // bucket_ns
            low = bucket * bucket_ns
            high = low + bucket_ns
        gained = 0.0
        if has:
            if rows[i, SHAPE] & ONE:
                gained = v
            else:
                last = rows[i, PREV_T]
                if last == Z or tm > last:
                    if last != Z:
                        before = _f64(rows[i, PREV])
                        gained = v - before if v >= before else v
                    rows[i, PREV_T] = tm
                    rows[i, PREV] = _bits(v)
        else:
            v = np.nan
        if rows[i, COUNT] != Z and rows[i, BUCKET] != bucket:
            _spill(rows, i, spill, spilled)
            spilled += 1
            rows[i, COUNT] = Z
        bits = _bits(v)
        if rows[i, COUNT] == Z:
            rows[i, COUNT] = ONE
            rows[i, BUCKET] = bucket
            rows[i, FIRST_T] = tm
            rows[i, LAST_T] = tm
            rows[i, FIRST] = bits
            rows[i, LAST] = bits
            rows[i, INCREASE] = _bits(gained)
            rows[i, LOW] = bits
            rows[i, HIGH] = bits
            rows[i, BYTES] = pts[j, PT_BYTES]
            rows[i, EXEMPLAR_COUNT] = (flags & MAX32) >> ONE
            if rows[i, SHAPE] & (MAX32 - ONE) == Z:
                rows[i, SHAPE] |= flags >> C32 << ONE
            continue
        rows[i, COUNT] += ONE
        if tm < rows[i, FIRST_T]:
            rows[i, FIRST_T] = tm
            rows[i, FIRST] = bits
        if tm >= rows[i, LAST_T]:
            rows[i, LAST_T] = tm
            rows[i, LAST] = bits
        rows[i, INCREASE] = _bits(_f64(rows[i, INCREASE]) + gained)
        rows[i, BYTES] = _bits(_f64(rows[i, BYTES]) + _f64(pts[j, PT_BYTES]))
        rows[i, EXEMPLAR_COUNT] += (flags & MAX32) >> ONE
        least = _f64(rows[i, LOW])
        most = _f64(rows[i, HIGH])
        if v < least or least != least:
            rows[i, LOW] = bits
        if v > most or most != most:
            rows[i, HIGH] = bits
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
def _bit(field):
    return ONE << field


@_kernel
def _message_ok(p, e, strings, blobs, varints, fixed64, fixed32, kvs):
    """Whether p..e is a canonical message of singular fields, given as bit masks by field number, and key-values in field `kvs`."""
    seen = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            return p != Z
        f = t >> THREE
        if f > C63:
            return False
        w = t & SEVEN
        if w == TWO and f == kvs:
            if not _kv_ok(d, n, Z):
                return False
            continue
        bit = _bit(f)
        if seen & bit:
            return False
        seen |= bit
        if w == TWO and strings & bit:
            if n == Z or not _utf8(d, n):
                return False
        elif w == TWO and blobs & bit:
            if n == Z:
                return False
        elif w == Z and varints & bit:
            if n == Z or n > MAX32:
                return False
        elif w == ONE and fixed64 & bit:
            if _ld64(d) == Z:
                return False
        elif w == U(5) and fixed32 & bit:
            if _ld32(d) == Z:
                return False
        else:
            return False


@_kernel
def _record(p, e, st, out):
    """A LogRecord to `out`; returns 0, a reason's number, or 255 when not sure."""
    trusted = st[TRUSTED] != Z
    begin = p
    adjust = Z
    seen = Z
    count = Z
    wrong = Z
    at = Z
    observed = Z
    severity = Z
    trace = Z
    trace_n = Z
    body_p = begin
    body_n = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            break
        if t == U(50):
            count += ONE
            why = _attribute(d, n, st)
            if why == U(255):
                return why
            if wrong == Z:
                wrong = why
            continue
        if t == U(9):
            bit = ONE
            at = _ld64(d)
            if at == Z:
                adjust += U(9)
        elif t == U(89):
            bit = TWO
            observed = _ld64(d)
            if observed == Z:
                adjust += U(9)
        elif t == U(16):
            bit = FOUR
            if not trusted and n > U(0x7FFFFFFF):
                return U(255)
            severity = n & MAX32
            if n == Z:
                adjust += TWO
        elif t == U(26):
            bit = EIGHT
            if not trusted and not _utf8(d, n):
                return U(255)
            if n == Z:
                adjust += TWO
        elif t == U(42):
            bit = SIXTEEN
            if not trusted and not _value_ok(d, d + n, Z):
                return U(255)
            body_p = d
            body_n = n
        elif t == U(56):
            bit = U(32)
            if n > MAX32:
                return U(255)
            if n == Z:
                adjust += TWO
        elif t == U(69):
            bit = U(64)
            if _ld32(d) == Z:
                adjust += U(5)
        elif t == U(74):
            bit = U(128)
            trace = d
            trace_n = n
            if n == Z:
                adjust += TWO
        elif t == U(82):
            bit = U(256)
            if n == Z:
                adjust += TWO
        elif t == U(98):
            bit = U(512)
            if not trusted and not _utf8(d, n):
                return U(255)
            if n == Z:
                adjust += TWO
        else:
            return U(255)
        if seen & bit:
            return U(255)
        seen |= bit
    if p == Z:
        return U(255)
    out[IT_TIME] = at if at != Z else observed
    out[IT_BYTES] = _bits(float(e - begin - adjust))
    out[IT_NUMBER] = severity
    out[IT_NAME] = Z
    if trace_n > Z:
        out[IT_RANK] = _hash(trace, trace_n, U(TRACE), st[SECRET0], st[SECRET1], st[SECRET2])
    else:
        out[IT_RANK] = _mum(_hash(body_p, body_n, U(TEXT), st[SECRET0], st[SECRET1], st[SECRET2]) ^ st[SECRET3], out[IT_TIME] ^ st[SECRET0])
    if out[IT_TIME] < st[OLDEST] or out[IT_TIME] > st[NEWEST]:
        return ONE
    if count > st[MAX_ATTRIBUTES]:
        return TWO
    return wrong


@_kernel
def _span(p, e, st, out, base, heads, misses):
    """A Span to `out`; returns 0, a reason's number, 255 when not sure, 254 when its name was not met before, 253 when full."""
    trusted = st[TRUSTED] != Z
    begin = p
    adjust = Z
    seen = Z
    count = Z
    wrong = Z
    start = Z
    kind = Z
    trace = begin
    trace_n = Z
    name = begin
    name_n = Z
    while True:
        t, p, d, n = _next(p, e)
        if t == Z:
            break
        if t == U(74):
            count += ONE
            why = _attribute(d, n, st)
            if why == U(255):
                return why
            if wrong == Z:
                wrong = why
            continue
        if t == U(90):
            if not trusted and not _message_ok(d, d + n, U(4), Z, U(16), U(2), Z, THREE):
                return U(255)
            continue
        if t == U(106):
            if not trusted and not _message_ok(d, d + n, U(8), U(6), U(32), Z, U(64), FOUR):
                return U(255)
            continue
        f = t >> THREE
        bit = _bit(f & C63)
        if t == U(10) or t == U(18) or t == U(34):
            if t == U(10):
                trace = d
                trace_n = n
            if n == Z:
                adjust += TWO
        elif t == U(26) or t == U(42):
            if not trusted and not _utf8(d, n):
                return U(255)
            if t == U(42):
                name = d
                name_n = n
            if n == Z:
                adjust += TWO
        elif t == U(48):
            if not trusted and n > U(0x7FFFFFFF):
                return U(255)
            kind = n & MAX32
            if n == Z:
                adjust += TWO
        elif t == U(57) or t == U(65):
            if t == U(57):
                start = _ld64(d)
            if _ld64(d) == Z:
                adjust += U(9)
        elif t == U(80) or t == U(96) or t == U(112):
            if n > MAX32:
                return U(255)
            if n == Z:
                adjust += TWO
        elif t == U(122):
            if not trusted and not _message_ok(d, d + n, U(4), Z, U(8), Z, Z, Z):
                return U(255)
        elif t == U(133):
            if _ld32(d) == Z:
                adjust += U(6)
        else:
            return U(255)
        if seen & bit:
            return U(255)
        seen |= bit
    if p == Z:
        return U(255)
    out[IT_TIME] = start
    out[IT_BYTES] = _bits(float(e - begin - adjust))
    out[IT_NUMBER] = kind
    out[IT_RANK] = _hash(trace, trace_n, U(TRACE), st[SECRET0], st[SECRET1], st[SECRET2])
    if start < st[OLDEST] or start > st[NEWEST]:
        return ONE
    if count > st[MAX_ATTRIBUTES]:
        return TWO
    if wrong != Z:
        return wrong
    key = _hash(name, name_n, U(HEAD_NAME), st[SECRET0], st[SECRET1], st[SECRET2])
    h = _find_head(heads, key)
    if heads[h, HEAD_KEY] == Z:
        if not _miss(st, misses, U(HEAD_NAME), key, name - base, name_n, Z, Z, Z):
            return U(253)
        return U(254)
    out[IT_NAME] = heads[h, HEAD_ID]
    return Z


@_kernel
def scan_items(body, st, heads, items, misses, spans):
    """One ExportLogsServiceRequest, or, with `spans`, ExportTraceServiceRequest, to `items`."""
    base = U(body.ctypes.data)
    end = base + U(body.size)
    trusted = st[TRUSTED] != Z
    s0 = st[SECRET0]
    s1 = st[SECRET1]
    s2 = st[SECRET2]
    out = Z
    received = Z
    st[N_MISS] = Z
    st[N_OUT] = Z
    for i in range(len(REASONS)):
        st[REASON0 + i] = Z
    p = base
    while True:
        t, p, rp, rn = _next(p, end)
        if t == Z:
            break
        if t != U(10):
            return UNSURE
        re = rp + rn
        res_at = base
        res_n = Z
        seen = Z
        q = rp
        while True:
            t, q, d, n = _next(q, re)
            if t == Z:
                break
            if t == U(10):
                if seen & ONE:
                    return UNSURE
                seen |= ONE
                res_at = d
                res_n = n
            elif t == U(26):
                if seen & TWO or (not trusted and not _utf8(d, n)):
                    return UNSURE
                seen |= TWO
            elif t != U(18):
                return UNSURE
        if q == Z:
            return UNSURE
        rkey = _hash(res_at, res_n, U(HEAD_RESOURCE), s0, s1, s2)
        rh = _find_head(heads, rkey)
        skip = heads[rh, HEAD_KEY] == Z
        if skip and not _miss(st, misses, U(HEAD_RESOURCE), rkey, res_at - base, res_n, Z, Z, Z):
            return MISS
        service = heads[rh, HEAD_ID] >> C32
        reason = heads[rh, HEAD_REASON]
        res_first = out
        res_items = Z
        q = rp
        while True:
            t, q, sp, sn = _next(q, re)
            if t == Z:
                break
            if t != U(18):
                continue
            se = sp + sn
            sc_n = Z
            sc_first = out
            sc_items = Z
            seen = Z
            q2 = sp
            while True:
                t, q2, d, n = _next(q2, se)
                if t == Z:
                    break
                if t == U(10):
                    if seen & ONE:
                        return UNSURE
                    seen |= ONE
                    sc_n = n
                    if not trusted:
                        # Only its size counts here, but it must be canonical for that; metrics know it by its hash.
                        skey = _hash(d, n, U(HEAD_SCOPE), s0, s1, s2)
                        if heads[_find_head(heads, skey), HEAD_KEY] == Z:
                            skip = True
                            if not _miss(st, misses, U(HEAD_SCOPE), skey, d - base, n, Z, Z, Z):
                                return MISS
                elif t == U(26):
                    if seen & TWO or (not trusted and not _utf8(d, n)):
                        return UNSURE
                    seen |= TWO
                elif t == U(18):
                    sc_items += ONE
                    if out >= U(items.shape[0]):
                        st[GROW_WHAT] = U(OUT_FULL)
                        return GROW
                    if spans:
                        why = _span(d, d + n, st, items[out], base, heads, misses)
                    else:
                        why = _record(d, d + n, st, items[out])
                    if why == U(255):
                        return UNSURE
                    if why == U(253):
                        return MISS
                    if why == U(254) or skip:
                        continue
                    if reason != Z:
                        why = reason
                    if why != Z:
                        st[REASON0 + why] += ONE
                        continue
                    items[out, IT_SERVICE] = service
                    items[out, IT_AT] = d - base
                    items[out, IT_LEN] = n
                    out += ONE
                else:
                    return UNSURE
            if q2 == Z:
                return UNSURE
            res_items += sc_items
            if sc_items > Z:
                share = float(sc_n) / float(sc_items)
                for i in range(sc_first, out):
                    items[i, IT_BYTES] = _bits(_f64(items[i, IT_BYTES]) + share)
        if q == Z:
            return UNSURE
        received += res_items
        if res_items > Z:
            share = float(res_n) / float(res_items)
            for i in range(res_first, out):
                items[i, IT_BYTES] = _bits(_f64(items[i, IT_BYTES]) + share)
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


@_inline
def _log_weight(seen, samples):
    """1 for the first `samples`, then 2 for as many again, then 4, and so on."""
    left = (seen - ONE) // samples
    weight = ONE
    while left > Z:
        weight <<= ONE
        left >>= ONE
    return weight


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
        new_rows[j, :] = rows[i, :]
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
