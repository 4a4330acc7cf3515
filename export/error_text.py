"""Shorten the errors of other libraries, to quote them in messages."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without ONNX Runtime's prefix; the rest is stack and advice."""
    line = str(error).strip().split("\n", 1)[0]
    return " ".join(line.split()).removeprefix("[ONNXRuntimeError] : ")
