"""Labels in YAML, as far as label files use it: lists, dicts, one level of nesting, quotes and comments.

PyYAML is no dependency of camrt. Everything else that YAML allows is refused with its line.
"""

import re
from typing import Any, Final

from camrt.export.labels.form import Labels, NotThisForm
from camrt.export.labels.values import LABEL_KEYS, labels_of

_KEY: Final = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'#&*!|>%@`\[\]{},][^:#]*?)\s*:(?:\s+(.*))?$""")
_FLOW_ITEM: Final = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,\[\]{}]*?)\s*([,\]}]|:(?=\s|$))""")
_OTHER_YAML: Final = re.compile(r"[&*!|>%@`]")
_Line = tuple[int, int, str]
"""(number, indentation, text without comment)."""


def labels_of_yaml(text: str, *, is_yaml: bool) -> Labels | None:
    """Return the labels of a YAML text; None: it is none.

    Args:
        text: of the file.
        is_yaml: the file's suffix says that it is YAML. Other texts are, if they have a line ``names:`` or the like.

    Raises:
        NotThisForm: the labels are written in a part of YAML that is not supported, or there are none.
    """
    lines = _lines(text)
    if not lines:
        return None
    keys = {match[1].strip("\"'"): index for index, (_, indent, line) in enumerate(lines)
            if indent == 0 and (match := _KEY.fullmatch(line))}  # fmt: skip
    key = next((name for name in LABEL_KEYS if name in keys), None)
    if key is not None and (is_yaml or _opens_block(lines, keys[key])):
        return Labels(labels_of(_value_at(lines, keys[key]), "YAML").names, f"{key!r} of a YAML file")
    if not is_yaml:
        return None
    return labels_of(_block(lines), "YAML")


def _opens_block(lines: list[_Line], index: int) -> bool:
    """Tell whether a key is followed by an indented block, a list or a flow collection, as no plain label is."""
    match = _KEY.fullmatch(lines[index][2])
    if match is None or match[2]:
        return match is not None and match[2].startswith(("[", "{"))
    return index + 1 < len(lines) and (lines[index + 1][1] > 0 or lines[index + 1][2].startswith("- "))


def _lines(text: str) -> list[_Line]:
    """Return the lines with content."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        content = _without_comment(line).rstrip()
        if content.strip() and content.strip() not in ("---", "..."):
            if content[: len(content) - len(content.lstrip())].count("\t"):
                raise NotThisForm(f"YAML: line {number} is indented with a tab; YAML needs spaces")
            lines.append((number, len(content) - len(content.lstrip()), content.strip()))
    return lines


def _without_comment(line: str) -> str:
    quote = ""
    for index, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and (index == 0 or line[index - 1] in " [{,:-"):
            quote = character
        elif character == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index]
    return line


def _value_at(lines: list[_Line], index: int) -> Any:
    """Return the value of the top-level key in line ``index``."""
    match = _KEY.fullmatch(lines[index][2])
    assert match is not None
    end = next((later for later in range(index + 1, len(lines)) if _is_next_key(lines[later])), len(lines))
    if match[2]:
        return _flow(" ".join([match[2], *(line for _, _, line in lines[index + 1 : end])]), lines[index][0])
    if index + 1 == end:
        raise NotThisForm(f"YAML: {match[1]} in line {lines[index][0]} has no classes")
    return _block(lines[index + 1 : end])


def _is_next_key(line: _Line) -> bool:
    return line[1] == 0 and _KEY.fullmatch(line[2]) is not None


def _block(lines: list[_Line]) -> list[Any] | dict[Any, Any]:
    """Return a list of lines ``- name``, or a dict of lines ``number: name``."""
    number, indent, first = lines[0]
    if first.startswith(("[", "{")):
        value: list[Any] | dict[Any, Any] = _flow(" ".join(line for _, _, line in lines), number)
        return value
    pairs: list[tuple[Any, Any]] = []
    is_list = first.startswith("- ")
    for line_number, line_indent, line in lines:
        match = None if is_list else _KEY.fullmatch(line)
        entry = line[2:].strip() if line.startswith("- ") else match[2] if match else None
        if line_indent != indent or entry is None or line.startswith("- ") != is_list:
            raise NotThisForm(
                f"YAML: line {line_number} is not a class like those before it; write each as '- name' or 'number: "
                "name', or export the labels as JSON"
            )
        if is_list and entry.startswith("{"):
            pairs.append((len(pairs), _flow(entry, line_number)))
        else:
            pairs.append((len(pairs) if match is None else _scalar(match[1], line_number), _scalar(entry, line_number)))
    if is_list:
        return [value for _, value in pairs]
    if len({key for key, _ in pairs}) < len(pairs):
        repeated = next(key for key, _ in pairs if [other for other, _ in pairs].count(key) > 1)
        raise NotThisForm(f"YAML: class {repeated} is there twice")
    return dict(pairs)


def _flow(text: str, line: int) -> Any:
    """Return the value of ``[a, b]`` or ``{0: a, 1: b}``."""
    closing = {"[": "]", "{": "}"}.get(text[:1])
    if closing is None:
        raise NotThisForm(f"YAML: line {line} has one value, {text!r:.40}, and not a list of classes")
    items: list[str] = []
    keys: list[str] = []
    position, pending = 1, None
    while position < len(text):
        match = _FLOW_ITEM.match(text, position)
        if match is None:
            break
        position = match.end()
        if match[2] == ":":
            pending = match[1]
            continue
        if match[1] or pending is not None:
            items.append(match[1])
            keys.append(pending or "")
        pending = None
        if match[2] in "]}":
            if match[2] != closing or text[position:].strip():
                break
            values = [_scalar(item, line) for item in items]
            return values if closing == "]" else dict(zip((_scalar(key, line) for key in keys), values, strict=True))
    raise NotThisForm(f"YAML: the list that begins in line {line} cannot be read; write one class on each line")


def _scalar(text: str, line: int) -> str:
    """Return a plain or quoted text."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r'\\(["\\/])', r"\1", text[1:-1])
    if _OTHER_YAML.match(text):
        raise NotThisForm(f"YAML: line {line} begins with {text[0]!r}, which camrt does not read; put it in quotes")
    return text
