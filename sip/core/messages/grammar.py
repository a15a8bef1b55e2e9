"""The parts of RFC 3261 §25.1 that every structured header is made of. No regular expressions: these are hot."""

from __future__ import annotations

from sip.errors import PeerFault

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" )        RFC 3261 §25.1
TOKEN_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~")

PARAMETERS_MAX = 64  # more than any real header; a bound on what one line may make us allocate
HEADER_ELEMENTS_MAX = 64  # comma-separated elements in one header: Via and Route stay below 70 hops


def is_token(text: str) -> bool:
    """True when `text` is a token of RFC 3261 §25.1."""
    # Most are plain letters, which str itself tells several times as fast as a set does.
    return (text.isalnum() and text.isascii()) or (bool(text) and TOKEN_CHARACTERS.issuperset(text))


def is_digits(text: str) -> bool:
    """True for 1*DIGIT: str.isdigit alone would take other scripts' digits too."""
    return text.isdigit() and text.isascii()


def split_outside_quotes(text: str, separator: str) -> list[str]:
    """Splits at `separator` where it is neither in a quoted string nor, for commas, inside <…>.

    quoted-string = SWS DQUOTE *(qdtext / quoted-pair ) DQUOTE        RFC 3261 §25.1
    """
    if '"' not in text and (separator != "," or "<" not in text):
        return text.split(separator)
    pieces: list[str] = []
    start = position = 0
    quoted = angled = False
    length = len(text)
    while position < length:
        character = text[position]
        if quoted:
            if character == "\\":
                position += 1
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character == "<":
            angled = True
        elif character == ">":
            angled = False
        elif character == separator and not angled:
            pieces.append(text[start:position])
            start = position + 1
        position += 1
    pieces.append(text[start:])
    return pieces


def split_elements(value: str, header: str) -> list[str]:
    """The comma-separated elements of one header value, stripped, empty ones left out.

    Raises PeerFault 400 naming `header` above HEADER_ELEMENTS_MAX.
    """
    if "," not in value:
        return [value] if value else []
    elements = [piece.strip(" \t") for piece in split_outside_quotes(value, ",")]
    if len(elements) > HEADER_ELEMENTS_MAX:
        raise PeerFault(400, f"Too Many {header} Elements")
    return [element for element in elements if element]


def parse_parameters(text: str, header: str) -> dict[str, str]:
    """*( SEMI generic-param ) with names lower-cased; a parameter without value maps to "".

    `text` is what follows the part the parameters belong to, with or without the first ";". Quotes round a value
    are kept off. Raises PeerFault 400 naming `header`.
    """
    parameters: dict[str, str] = {}
    pieces = text.split(";") if '"' not in text else split_outside_quotes(text, ";")
    if len(pieces) > PARAMETERS_MAX:
        raise PeerFault(400, f"Too Many {header} Parameters")
    for piece in pieces:
        name, _, value = piece.partition("=")
        name = name.strip(" \t")
        if not name:
            if value:
                raise PeerFault(400, f"Malformed {header} Parameter")
            continue  # ";;" and a trailing ";" are sent by real phones and do no harm
        value = value.strip(" \t")
        if value and value[0] == '"':
            value = unquote(value)
        # The first of two equal names counts, as everywhere in this stack.
        parameters.setdefault(name.lower(), value)
    return parameters


def unquote(text: str) -> str:
    """The content of a quoted-string, quoted-pairs resolved; `text` itself when it is not quoted."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    text = text[1:-1]
    if "\\" not in text:
        return text
    characters: list[str] = []
    escaped = False
    for character in text:
        if escaped or character != "\\":
            characters.append(character)
            escaped = False
        else:
            escaped = True
    return "".join(characters)


def quote(text: str) -> str:
    """`text` as a quoted-string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
