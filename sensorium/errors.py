"""The error tree: everything a user can cause is a SensoriumError, said in one clear line."""

from __future__ import annotations

EXTRAS = {"datasets": "hub", "duckdb": "search", "faiss": "search", "fastapi": "serve", "gradio": "page",
          "onnx": "export", "onnxruntime": "runtime", "onnxscript": "export", "peft": "lora", "uvicorn": "serve"}
"""Package → the extra that brings it; others come with `train`."""


class SensoriumError(ValueError):
    """Base of every error that a user's input can cause."""


class RecipeError(SensoriumError):
    """The description of a run is wrong: an unknown name, a contradiction, a value out of range."""


class DataError(SensoriumError):
    """A table cannot be used as asked: missing, empty, a bad column, a bad target."""


class LeakError(DataError):
    """An input gives the target away."""


class BadCell(DataError):
    """One cell cannot be read. Its text is the reason, shown to the user beside row and column."""


class AlignmentError(SensoriumError):
    """Views or embeddings cannot be aligned: too few rows, lengths that differ, numbers that are not finite."""


class ModelFolderError(SensoriumError):
    """A folder is not a model folder, is incomplete or was made by an incompatible version."""


class ExportError(SensoriumError):
    """A model cannot be exported, or an exported folder cannot be used."""


class ResumeError(SensoriumError):
    """A checkpoint does not belong to the run that asks for it."""


class TrainingError(SensoriumError):
    """A training that cannot give a model: its numbers stopped being finite."""


def unknown_name(what: str, name: str, choices: list[str]) -> RecipeError:
    """An error for an unknown name, with the choices and the nearest match."""
    import difflib

    near = difflib.get_close_matches(name, choices, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return RecipeError(f"unknown {what} {name!r}: choose one of {', '.join(choices) or '(none)'}.{hint}")


def install_command(module: str) -> str:
    """What to do about a module that is not there; of all that training needs, torch is named.

    Example:
        >>> install_command("onnxruntime.capi")
        "needs onnxruntime: pip install 'sensorium[runtime]'"
    """
    from importlib.util import find_spec

    package = module.partition(".")[0]
    extra = EXTRAS.get(package, "train")
    try:
        lacks_torch = find_spec("torch") is None
    except ValueError:  # forbidden, as tests do
        lacks_torch = True
    return f"needs {'torch' if extra == 'train' and lacks_torch else package}: pip install 'sensorium[{extra}]'"
