"""Names that want to be something else: by hand, and by chance from pieces of those."""

from __future__ import annotations

import random

from controlplane.render import MAX_NAME

_EXPANSIONS = [
    "${env:X}", "$${env:X}", "$$${env:X}", "$$$${env:X}", "${env:HOME}", "${X}", "$X", "$X$", "$$X", "$", "$$", "$$$", "${", "$${", "${}", "${env:}",
    "${env:X", "a${env:X}b", "${env:${env:X}}", "${file:/etc/passwd}", "${file:/etc/hostname}", "${yaml:a: b}", "${http://127.0.0.1/}",
    "${https://127.0.0.1/?k=${env:X}}", "${env:X:-default}", "${env:FLOWGATE_TAP_TOKEN}", "$" + "{env:X}" * 3, "\\${env:X}", "\\$", "$(X)", "%X%", "{{X}}",
    "${ENV:X}", "${env :X}", "${env:X}${env:X}", "a$", "$a", "$1", "${1}", "$0",
]  # fmt: skip
_QUOTES = [
    '"', "'", "`", '""', "''", '"a"', "a\"b", "a'b", "\\", "\\\\", "\\\\\\", 'a\\"', '\\"', '\\\\"', "\\n", "\\x00", "\\u0041", "\\.", "\\d+", "a\\",
    '" or true or "" == "', '" == name or name != "', "a' or true or '", '") or true or ("', '" and false', 'a" where true', "]) or true",
    '", "b', "name", 'name == "x"', "true", "false", "nil", "not", "or", "and", "where", "0x41", "1", "1.0", "IsMatch(name, \".*\")",
    'delete_key(attributes, "a")', "// comment", "# comment", "a # b", "a: b", "a:b", ": a", "a;b", "a,b", "/*", "*/", "{", "}", "[", "]", "(", ")",
]  # fmt: skip
_CONTROLS = [
    "a\nb", "\n", "a\r\nb", "\r", "\t", "a\tb", "a\x00b", "\x00", "\x01", "\x07", "\x08", "\x0b", "\x0c", "\x1b[31m", "\x7f", "\x80", "\x85", "\x9f",
    "\xa0", "\xad", "\u200b", "\u200d", "\u2028", "\u2029", "\ufeff", "\ufeffa", "\ufffd", "\ufffe", "\uffff", "\ue000", "\u202e", "\U0001f600",
    "\U0010ffff", "é", "e\u0301", "ß", "İ", "名前", "имя", "𝔘", " ", "  ", " a", "a ", "\u3000", "a\n---\nb", "a\n...\nb", "a\n- b", "a\n  b: c",
]  # fmt: skip
_YAML = [
    "on", "off", "yes", "no", "y", "n", "On", "YES", "true", "True", "FALSE", "null", "Null", "~", "1e3", "1E3", ".5", "0o17", "017", "0b1", "1_000",
    "12:30:45", "190:20:30", "2001-01-01", "2001-12-14t21:59:43.10-05:00", ".inf", "-.inf", ".NaN", "+1", "-1", "- a", "-", "--- a", "...", "? a", "| a",
    "|", ">", ">-", "&a", "*a", "!tag", "!!str a", "!!binary aGk=", "%TAG", "@a", "<<", "=", "a: |", "{a: b}", "[a, b]", "'a", '"a', "#c", "a #c", "0",
]  # fmt: skip
_PATTERNS = [
    ".", ".*", "a.b", "a.*", "^a", "a$", "^a$", "(a)", "(?i)a", "[a-z]", "[^a]", "a|b", "a+", "a?", "a{2}", "(?P<x>a)", "\\Qa\\E", "(a+)+$", "\\b", "x*",
    "%s", "%d", "%%", "%!", "{0}", "*", "a*b", "http.server.request.duration", "A", "a", "x" * MAX_NAME, "é" * MAX_NAME, "\x00" * 300, '"' * MAX_NAME,
    "$" * MAX_NAME, "\\" * MAX_NAME,
]  # fmt: skip
HAND_MADE = tuple(dict.fromkeys([*_EXPANSIONS, *_QUOTES, *_CONTROLS, *_YAML, *_PATTERNS]))
NOT_TEXT = ("\ud800", "a\udfff", "\udcff", "${env:X}\udc80", "x" * (MAX_NAME + 1))
"""What no name that arrives can be."""
_PIECES = [p for p in HAND_MADE if len(p) < 20]


def random_name(chance: random.Random) -> str:
    """Pieces of hostile names, single characters of all planes, and plain letters, in any mix."""
    made = "".join(
        (
            chance.choice(_PIECES),
            chr(chance.choice([chance.randrange(1, 0x250), chance.randrange(0xE000, 0x110000), chance.randrange(0x2000, 0xD800)])),
            chance.choice('abcAB019_.:/-$"\\{}'),
        )[chance.randrange(3)]
        for _ in range(chance.randint(1, 8))
    )
    return made[:MAX_NAME]


def distinct_names(chance: random.Random, number: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < number:
        found[random_name(chance)] = None
    return list(found)
