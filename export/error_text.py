"""The text of an error that another library raised, short enough for a message of ours."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without ONNX Runtime's prefix; the rest is stack and advice."""
    line = str(error).strip().split("\n", 1)[0]
    return " ".join(line.split()).removeprefix("[ONNXRuntimeError] : ")
