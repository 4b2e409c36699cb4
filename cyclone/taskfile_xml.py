"""The XML of a task file, read safely: elements with their lines, and nothing that XML can do beside that.

Owns the syntax. What elements mean is ``taskfile.py``'s. Must not resolve an entity, a document type or a reference to
another file, nor hold more of a file than the size that it allows.
"""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, Locator

from defusedxml import sax
from defusedxml.common import DefusedXmlException

from cyclone.errors import ConfigError
from cyclone.units import format_size

FILE_BYTES_MAX = 1 << 20


@dataclass(slots=True)
class Element:
    """One element. ``place`` is its ``file:line``, ``text`` what stands directly in it."""

    tag: str
    attributes: dict[str, str]
    place: str
    text: str = ""
    children: "list[Element]" = field(default_factory=list)


def read_xml(path: Path) -> Element:
    """The root element of a file. Raises ConfigError naming the file, and the line where there is one."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such task file") from None
    except OSError as error:
        raise ConfigError(f"{path}: the task file cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(
            f"{path}: is larger than {format_size(FILE_BYTES_MAX)}, which no task file needs: "
            "a task is described once there, however often it is made"
        )
    reader = _Reader(path)
    try:
        sax.parse(BytesIO(content), reader, forbid_dtd=True)
    except SAXParseException as error:
        raise ConfigError(f"{path}:{error.getLineNumber()}: is not well-formed XML: {error.getMessage()}") from None
    except DefusedXmlException:
        raise ConfigError(
            f"{reader.place}: a document type (<!DOCTYPE ...>) and entities are refused: a task file needs neither, "
            "remove them"
        ) from None
    except (LookupError, ValueError) as error:
        raise ConfigError(f"{path}: its encoding cannot be read ({error}): save it as UTF-8") from None
    assert reader.root is not None, "expat refuses a document without a root"
    return reader.root


class _Reader(ContentHandler):
    """Builds the elements. The parser gives it the locator before anything else."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.root: Element | None = None
        self._path = path
        # What is open, each with the pieces of its text.
        self._open: list[tuple[Element, list[str]]] = []
        self._locator: Locator

    @property
    def place(self) -> str:
        """Where the parser is."""
        return f"{self._path}:{self._locator.getLineNumber()}"

    def setDocumentLocator(self, locator: Locator) -> None:
        self._locator = locator

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        element = Element(name, dict(attrs), self.place)
        if self._open:
            self._open[-1][0].children.append(element)
        else:
            self.root = element
        self._open.append((element, []))

    def endElement(self, name: str) -> None:
        element, pieces = self._open.pop()
        element.text = "".join(pieces)

    def characters(self, content: str) -> None:
        self._open[-1][1].append(content)
