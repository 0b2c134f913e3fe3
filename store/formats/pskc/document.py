"""The XML of a token file, before anything believes it.

Rules: no DTD, so no entity and nothing from elsewhere; no XInclude; bounds on size, depth and the size of one tag. All
of it is looked through once before anything is made of it, so a file that was cut off gives nothing. Then each child of
the root is handed out and forgotten: memory holds one KeyPackage at a time. Elements of namespaces that PSKC is written
in lose their namespace; those of others keep it, and so are strangers to whoever looks for a name.
"""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn
from xml.etree.ElementTree import Element, ParseError, iterparse
from xml.parsers import expat
from xml.parsers.expat import errors

from store.formats.reading import MOST_OF_ANY
from validation.errors import BadInput
from validation.messages import printable

MOST_OCTETS = MOST_OF_ANY  # PSKC takes a thousand for a key; memory holds a few of them at a time
MOST_DEPTH = 32
MOST_ELEMENTS = 10_000_000
MOST_TAG_CHARACTERS = 64 * 1024  # of all attributes of an element, or of a comment
ROOTS = ("KeyContainer", "SecretContainer")
_XINCLUDE = "http://www.w3.org/2001/XInclude"
_SEPARATOR = "}"  # between namespace and name, as ElementTree has it, so that both looks refuse the same
_KNOWN = re.compile(
    r"urn:ietf:params:xml:ns:keyprov:.*|http://www\.openauthentication\.org/OATH/.*|http://www\.w3\.org/2001/04/xmlenc#"
    r"|http://www\.w3\.org/2009/xmlenc11#|http://www\.w3\.org/2000/09/xmldsig#"
    r"|http://www\.rsasecurity\.com/rsalabs/pkcs/schemas/pkcs-5v2-0#",
    re.IGNORECASE,
)
_CUT_OFF = {
    errors.codes[text]
    for text in (
        errors.XML_ERROR_NO_ELEMENTS,
        errors.XML_ERROR_UNCLOSED_TOKEN,
        errors.XML_ERROR_PARTIAL_CHAR,
        errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
}


@dataclass(slots=True)
class Root:
    """What the first look found."""

    name: str = ""
    namespace: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


def check(octets: bytes) -> Root:
    """Look through all of the file. Raises BadInput for what is no whole PSKC file, or no harmless one."""
    if not octets.strip():
        raise BadInput("the file is empty")
    if len(octets) > MOST_OCTETS:
        raise BadInput(f"the file has more than {MOST_OCTETS // 1024 // 1024} MiB; split it")
    look = _Look()
    try:
        look.parser.Parse(octets, True)
    except expat.ExpatError as error:
        look.explain(error)
    except (LookupError, ValueError):
        raise BadInput("the file names an encoding that cannot be read; save it as UTF-8") from None
    return look.root


class _Look:
    """Counts and refuses; keeps nothing but where it is."""

    def __init__(self) -> None:
        self.root = Root()
        self.open: list[str] = []
        self.elements = 0
        self.parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CommentHandler = self._comment

    def _doctype(self, *_: object) -> NoReturn:
        raise BadInput(
            "the file holds a DTD (<!DOCTYPE ...>), which can name other files and grow without end; "
            "a token file needs none"
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition(_SEPARATOR)
        if not self.open:
            self._found_root(namespace, name, attributes)
        self.open.append(name)
        self.elements += 1
        if namespace == _XINCLUDE:
            raise BadInput(f"{self._where()}: the file asks for other files (XInclude); a token file needs none")
        if len(self.open) > MOST_DEPTH or self.elements > MOST_ELEMENTS:
            raise BadInput(f"{self._where()}: too many elements, or too deep in one another, for a token file")
        if attributes and sum(map(len, attributes.values())) > MOST_TAG_CHARACTERS:
            raise BadInput(f"{self._where()}: an element with attributes as long as no token file has them")

    def _found_root(self, namespace: str, name: str, attributes: dict[str, str]) -> None:
        self.root = Root(name, namespace, attributes)
        if name not in ROOTS:
            raise BadInput(f"no PSKC file: it begins with <{printable(name, 40)}>, and a KeyContainer is missing")
        version = attributes.get("Version") or attributes.get("version")
        if name == "KeyContainer" and version not in (None, "1", "1.0"):
            raise BadInput(f"KeyContainer: Version {printable(version, 20)} is not known; 1.0 is (RFC 6030)")

    def _end(self, _: str) -> None:
        self.open.pop()

    def _comment(self, text: str) -> None:
        if len(text) > MOST_TAG_CHARACTERS:
            raise BadInput(f"{self._where()}: a comment as long as no token file has one")

    def _where(self) -> str:
        return f"line {self.parser.CurrentLineNumber}"

    def explain(self, error: expat.ExpatError) -> NoReturn:
        """From None: the error of the parser is no secret, but its traceback holds the file."""
        if error.code in _CUT_OFF and self.open:
            inside = printable(self.open[-1], 40)
            raise BadInput(f"the file is incomplete: it ends inside <{inside}>, at line {error.lineno}") from None
        if not self.root.name:
            raise BadInput(
                f"no XML, and so no PSKC file (line {error.lineno}: {errors.messages[error.code]})"
            ) from None
        raise BadInput(f"line {error.lineno}, column {error.offset + 1}: {errors.messages[error.code]}") from None


def children(octets: bytes, root: Root) -> Iterator[Element]:
    """Each child of the root, in order. Only for octets that `check` let through: it is what makes this safe."""
    names: dict[str, str] = {}
    depth = 0
    container: Element | None = None
    for event, element in _events(octets):
        if event == "start":
            depth += 1
            container = element if container is None else container
            continue
        depth -= 1
        if depth == 1 and container is not None:
            _strip(element, root.namespace, names)
            yield element
            container.clear()


def _events(octets: bytes) -> Iterator[tuple[str, Element]]:
    try:
        yield from iterparse(io.BytesIO(octets), ("start", "end"))  # noqa: S314 (see `children`)
    except ParseError:  # the first look found nothing wrong, so nobody knows how to come here
        raise BadInput("the XML of the file cannot be read") from None


def _strip(element: Element, own: str, names: dict[str, str]) -> None:
    for each in element.iter():
        tag = each.tag
        if tag not in names:
            names[tag] = _stripped(tag, own)
        each.tag = names[tag]


def _stripped(tag: str, own: str) -> str:
    if not tag.startswith("{"):
        return tag
    namespace, _, name = tag[1:].rpartition("}")
    return name if namespace == own or _KNOWN.fullmatch(namespace) else tag
